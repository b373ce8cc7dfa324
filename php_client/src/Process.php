<?php

declare(strict_types=1);

namespace Resident;

/**
 * @internal
 */
final class Process
{
    /**
     * Which process this is, so that a child of pcntl_fork can tell that it is another one; 0 where a
     * host has switched getmypid() off, and with it that check.
     */
    public static function id(): int
    {
        return function_exists('getmypid') ? (int) getmypid() : 0;
    }
}
