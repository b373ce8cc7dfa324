<?php

declare(strict_types=1);

namespace Resident\Tests\Support;

use PHPUnit\Framework\Assert;

/**
 * Waiting for a condition, never for a time.
 */
final class Wait
{
    private const WITHIN_S = 10.0;
    private const POLL_US = 2_000;

    /**
     * @template T
     * @param \Closure(): T $condition
     * @return T The first value that is neither null nor false.
     */
    public static function until(\Closure $condition): mixed
    {
        $endNs = hrtime(true) + self::WITHIN_S * 1e9;
        while (hrtime(true) < $endNs) {
            $value = $condition();
            if ($value !== null && $value !== false) {
                return $value;
            }
            usleep(self::POLL_US);
        }
        Assert::fail('not within ' . self::WITHIN_S . ' s');
    }
}
