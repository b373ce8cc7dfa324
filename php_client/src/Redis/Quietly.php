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
     * @return T
     */
    public static function run(\Closure $work): mixed
    {
        set_error_handler(static fn (): bool => true);
        try {
            return $work();
        } finally {
            restore_error_handler();
        }
    }
}
