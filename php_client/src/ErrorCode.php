<?php

declare(strict_types=1);

namespace Resident;

/**
 * What happened to a question that was not answered; the table of docs/protocol.md.
 */
enum ErrorCode: string
{
    case InvalidQuestion = 'invalid_question';
    case UnknownTask = 'unknown_task';
    case Conflict = 'conflict';
    case Overloaded = 'overloaded';
    case NoWorker = 'no_worker';
    case ModelError = 'model_error';
    case TimedOut = 'timed_out';
    case Crashed = 'crashed';
    case Cancelled = 'cancelled';
    case Expired = 'expired';
    case TransportError = 'transport_error';

    /**
     * The HTTP status that says the same.
     */
    public function httpStatus(): int
    {
        return match ($this) {
            self::InvalidQuestion => 400,
            self::UnknownTask => 404,
            self::Conflict => 409,
            self::Overloaded => 429,
            self::Cancelled => 499,
            self::ModelError, self::Crashed => 500,
            self::NoWorker, self::TransportError => 503,
            self::TimedOut, self::Expired => 504,
        };
    }
}
