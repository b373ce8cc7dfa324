<?php

declare(strict_types=1);

namespace Resident;

use Psr\Log\LoggerInterface;
use Resident\Exception\TransportError;
use Resident\Redis\ConnectionLost;
use Resident\Redis\ErrorReply;

/**
 * What an operator may want to know of the connection; never the text of a question.
 *
 * @internal
 */
final class Log
{
    public function __construct(private readonly ?LoggerInterface $logger)
    {
    }

    /**
     * The connection is opened again, and nobody may notice.
     */
    public function lost(string $place, ConnectionLost|ErrorReply $reason): void
    {
        $context = ['place' => $place, 'reason' => trim($reason->getMessage())];
        $this->logger?->warning('Resident lost Redis at {place} and tries again: {reason}', $context);
    }

    /**
     * A caller was told so.
     */
    public function failed(TransportError $error): void
    {
        $context = ['error' => $error->getMessage(), 'id' => $error->id()];
        $this->logger?->error('Resident could not ask: {error}', $context);
    }
}
