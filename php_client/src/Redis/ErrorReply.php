<?php

declare(strict_types=1);

namespace Resident\Redis;

/**
 * Redis answered, with an error; the connection is in order.
 *
 * @internal
 */
final class ErrorReply extends \RuntimeException
{
    /**
     * Answers of a Redis that starts, fails over or was just demoted; a later try may reach it.
     */
    private const PASSING = ['LOADING', 'MASTERDOWN', 'READONLY', 'UNBLOCKED', 'CLUSTERDOWN'];

    /**
     * The first word of Redis' answer, such as NOAUTH.
     *
     * Redis 6.2 says of a script first that it met an error, and then which: "-OOM command not allowed".
     */
    public function word(): string
    {
        $isWord = preg_match('/\A(?:ERR Error running script .*?: -)?([A-Z]+)(?: |\z)/', $this->getMessage(), $match);
        return $isWord === 1 ? $match[1] : 'ERR';
    }

    /**
     * Redis is full; it answers what needs no memory.
     */
    public function isFull(): bool
    {
        return $this->word() === 'OOM';
    }

    public function isPassing(): bool
    {
        return in_array($this->word(), self::PASSING, true);
    }
}
