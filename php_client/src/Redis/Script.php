<?php

declare(strict_types=1);

namespace Resident\Redis;

use Resident\Deadline;

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
     * The script that these files of src/Lua make, in their order.
     */
    public static function of(string ...$names): self
    {
        $read = static fn (string $name): string
            => (string) file_get_contents(dirname(__DIR__) . "/Lua/$name.lua");
        return new self(implode("\n", array_map($read, $names)));
    }

    /**
     * @param list<string> $keys
     * @param list<string> $arguments
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    public function call(
        Link $link,
        Deadline $deadline,
        array $keys,
        #[\SensitiveParameter] array $arguments,
    ): mixed {
        $rest = [(string) count($keys), ...$keys, ...$arguments];
        try {
            return $link->call($deadline, 'EVALSHA', $this->sha, ...$rest);
        } catch (ErrorReply $error) {
            if ($error->word() !== 'NOSCRIPT') {
                throw $error;
            }
        }
        return $link->call($deadline, 'EVAL', $this->source, ...$rest);
    }
}
