<?php

declare(strict_types=1);

namespace Resident\Redis;

use Resident\Deadline;
use Resident\Exception\ConfigurationError;

/**
 * Where the connection of an ask comes from.
 *
 * @internal
 */
interface Source
{
    /**
     * The connection, opened before the deadline if it has to be; the same one until it is dropped.
     *
     * @throws ErrorReply
     * @throws ConnectionLost
     * @throws ConfigurationError
     */
    public function link(Deadline $deadline): Link;

    /**
     * Closes a connection whose answers cannot be told apart any more.
     */
    public function drop(): void;

    /**
     * Ends an ask: the connection is as it was before.
     */
    public function release(): void;

    /**
     * Whether link() opens a new connection after drop().
     */
    public function canReopen(): bool;

    /**
     * The server, for messages: without user and password.
     */
    public function place(): string;
}
