<?php

declare(strict_types=1);

namespace Resident\Exception;

use Resident\ErrorCode;

/**
 * Redis could not be reached, refused us, or broke off in the middle.
 *
 * Whether the question was asked is not known; asking again with the same id is safe.
 */
final class TransportError extends TryAgain
{
    public function __construct(string $message, string $id = '')
    {
        parent::__construct(ErrorCode::TransportError, $message, $id);
    }
}
