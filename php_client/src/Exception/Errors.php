<?php

declare(strict_types=1);

namespace Resident\Exception;

use Resident\ErrorCode;

/**
 * Makes the exception of the class that belongs to a code.
 *
 * @internal
 */
final class Errors
{
    public static function of(ErrorCode $code, string $message, string $id = ''): ResidentException
    {
        return match ($code) {
            ErrorCode::InvalidQuestion, ErrorCode::UnknownTask, ErrorCode::Conflict
                => new CallerError($code, $message, $id),
            ErrorCode::NoWorker, ErrorCode::ModelError, ErrorCode::TimedOut, ErrorCode::Crashed
                => new OperatorError($code, $message, $id),
            ErrorCode::Overloaded, ErrorCode::Cancelled, ErrorCode::Expired
                => new TryAgain($code, $message, $id),
            ErrorCode::TransportError => new TransportError($message, $id),
        };
    }

    public static function invalidQuestion(string $message, ?\Throwable $previous = null): CallerError
    {
        return new CallerError(ErrorCode::InvalidQuestion, $message, '', $previous);
    }
}
