<?php

declare(strict_types=1);

namespace Resident\Exception;

/**
 * The caller must change the question or the task's name; asking again will not help.
 */
final class CallerError extends \RuntimeException implements ResidentException
{
    use NamesQuestion;
}
