<?php

declare(strict_types=1);

namespace Resident\Redis;

/**
 * ext-redis prints a warning for many a fault that it throws as well.
 *
 * @internal
 */
final class Quietly
{
    /**
     * @template T
     * @param \Closure(): T $work
     * @param string|null $warning The first one, which names the cause; null if there was none.
     * @return T
     */
    public static function run(#[\SensitiveParameter] \Closure $work, ?string &$warning = null): mixed
    {
        $warning = null;
        $others = null;
        $keep = static function (int $level, string $message, ...$where) use (&$warning, &$others): bool {
            // Of a file without certificates OpenSSL's names no function.
            if (!str_contains($message, 'Redis::') && !str_contains($message, ' cafile stream: ')) {
                // A signal handler's, say.
                return $others !== null && $others($level, $message, ...$where) !== false;
            }
            $warning ??= $message;
            return true;
        };
        $others = set_error_handler($keep, E_WARNING | E_NOTICE); // what ext-redis raises
        try {
            return $work();
        } finally {
            restore_error_handler();
        }
    }
}
