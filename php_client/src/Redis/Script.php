<?php

declare(strict_types=1);

namespace Resident\Redis;

/**
 * A Lua script on the server, sent whole only when the server does not know it.
 *
 * @internal
 */
final class Script
{
    private readonly string $sha;

    private function __construct(private readonly string $source)
    {
        $this->sha = sha1($source);
    }

    /**
     * The script of this name in src/Lua.
     */
    public static function named(string $name): self
    {
        return new self((string) file_get_contents(dirname(__DIR__) . "/Lua/$name.lua"));
    }

    /**
     * @param list<string> $keys
     * @param list<string> $arguments
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    public function call(
        Link $link,
        int $timeoutMs,
        array $keys,
        #[\SensitiveParameter] array $arguments,
    ): mixed {
        $rest = [(string) count($keys), ...$keys, ...$arguments];
        try {
            return $link->call($timeoutMs, 'EVALSHA', $this->sha, ...$rest);
        } catch (ErrorReply $error) {
            if ($error->word() !== 'NOSCRIPT') {
                throw $error;
            }
        }
        return $link->call($timeoutMs, 'EVAL', $this->source, ...$rest);
    }
}
