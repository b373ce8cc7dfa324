<?php

declare(strict_types=1);

namespace Resident\Exception;

/**
 * Somebody must look at the workers or the model; the question was in order.
 */
final class OperatorError extends \RuntimeException implements ResidentException
{
    use NamesQuestion;
}
