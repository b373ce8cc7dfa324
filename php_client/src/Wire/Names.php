<?php

declare(strict_types=1);

namespace Resident\Wire;

use Resident\ErrorCode;
use Resident\Exception\CallerError;
use Resident\Exception\Errors;

/**
 * The names that a caller chooses: the task and, if it wants, the id.
 *
 * @internal
 */
final class Names
{
    /**
     * A fresh id: 32 hex digits from the system's CSPRNG.
     */
    public static function newId(): string
    {
        return bin2hex(random_bytes(16));
    }

    public static function checkId(string $id): string
    {
        if (preg_match('/\A[A-Za-z0-9_-]{1,64}\z/', $id) !== 1) {
            throw Errors::invalidQuestion(
                'The id ' . Json::quote($id) . ' is not 1 to 64 of A-Z a-z 0-9 _ -'
            );
        }
        return $id;
    }

    public static function checkTask(string $task): string
    {
        if (preg_match('/\A[a-z][a-z0-9_]{0,62}\z/', $task) !== 1) {
            throw new CallerError(
                ErrorCode::UnknownTask,
                Json::quote($task) . ' cannot be a task: a name is 1 to 63 of a-z 0-9 _, a letter first'
            );
        }
        return $task;
    }
}
