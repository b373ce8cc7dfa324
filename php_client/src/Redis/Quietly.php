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
    private const RAISED_BY_REDIS = E_WARNING | E_NOTICE;

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
            $namesIt = str_contains($message, 'Redis::') || str_contains($message, ' cafile stream: ');
            if (!$namesIt || ($level & self::RAISED_BY_REDIS) === 0) { // a signal handler's, say
                return is_callable($others) && $others($level, $message, ...$where) !== false;
            }
            $warning ??= $message;
            return true;
        };
        $others = set_error_handler($keep);
        try {
            return $work();
        } finally {
            restore_error_handler();
        }
    }
}
