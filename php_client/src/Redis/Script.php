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
    private ?string $source = null;
    private ?string $sha = null;

    /**
     * @param list<string> $names
     */
    private function __construct(private readonly array $names)
    {
    }

    /**
     * The script that these files of src/Lua make, in their order; they are read when it is first run.
     */
    public static function of(string ...$names): self
    {
        return new self(array_values($names));
    }

    private function source(): string
    {
        $read = static fn (string $name): string
            => (string) file_get_contents(dirname(__DIR__) . "/Lua/$name.lua");
        return $this->source ??= implode("\n", array_map($read, $this->names));
    }

    private function sha(): string
    {
        return $this->sha ??= sha1($this->source());
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
            return $link->call($deadline, 'EVALSHA', $this->sha(), ...$rest);
        } catch (ErrorReply $error) {
            if ($error->word() !== 'NOSCRIPT') {
                throw $error;
            }
        }
        return $link->call($deadline, 'EVAL', $this->source(), ...$rest);
    }
}
