<?php

declare(strict_types=1);

namespace Resident\Exception;

use Resident\ErrorCode;

/**
 * A question that was not answered; the class says who must act, the code what happened.
 *
 *     ResidentException
 *     ├── CallerError        invalid_question, unknown_task, conflict: change what is asked
 *     ├── OperatorError      no_worker, model_error, timed_out, crashed: look at the workers
 *     └── TryAgain           overloaded, expired, cancelled: nobody has to act; ask again later
 *         └── TransportError transport_error: Redis could not be reached or did not speak sense
 *
 * A wrong DSN, option or Redis object is a ConfigurationError, which is none of these.
 */
interface ResidentException extends \Throwable
{
    public function code(): ErrorCode;

    /**
     * The question's id, which is its RQ job's id too; empty when none was made.
     */
    public function id(): string;
}
