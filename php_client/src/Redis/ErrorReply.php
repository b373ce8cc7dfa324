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
     * Redis 6.2 says so of a script, and then why it refused the command: "-OOM command not allowed".
     */
    private const RAN_INTO = '/\AERR Error running script .*?: -(?=[A-Z]+ )/';
    /**
     * A command, a key or a channel, without the word NOPERM: up to Redis 7.0, and since 7.2.
     */
    private const MAY_NOT = "/The user executing the script can't |ACL failure in script: /";

    /**
     * Of a command that it does not know Redis quotes the arguments: a password, say.
     */
    private const QUOTED = '/,? with args beginning with:.*/s';

    /**
     * What a script's command met is told as if it had been met alone.
     */
    public function __construct(#[\SensitiveParameter] string $answer)
    {
        parent::__construct((string) preg_replace([self::RAN_INTO, self::QUOTED], '', $answer));
    }

    /**
     * The first word of Redis' answer, such as NOAUTH.
     */
    public function word(): string
    {
        $message = $this->getMessage();
        return preg_match(self::MAY_NOT, $message) === 1 ? 'NOPERM' : (strtok($message, ' ') ?: 'ERR');
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
