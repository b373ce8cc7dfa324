<?php

declare(strict_types=1);

namespace Resident\Exception;

use Resident\ErrorCode;

/**
 * What all classes of ResidentException carry.
 *
 * @internal
 */
trait NamesQuestion
{
    public function __construct(
        private readonly ErrorCode $errorCode,
        string $message,
        private readonly string $questionId = '',
        ?\Throwable $previous = null,
    ) {
        parent::__construct($message, $errorCode->httpStatus(), $previous);
    }

    public function code(): ErrorCode
    {
        return $this->errorCode;
    }

    public function id(): string
    {
        return $this->questionId;
    }
}
