<?php

declare(strict_types=1);

namespace Resident\Wire;

use Resident\Exception\CallerError;
use Resident\Exception\Errors;

/**
 * Where a question waits behind others: an RQ queue beside its task's own.
 *
 * @internal
 */
final class Lane
{
    public const PRIORITIES = ['high', 'normal', 'low'];

    /**
     * What ask.lua takes; '' for the task's own queue. A tenant that is no plain name goes by its
     * digest.
     *
     * @throws CallerError There is no such priority.
     */
    public static function of(string $priority, string $tenant): string
    {
        if (!in_array($priority, self::PRIORITIES, true)) {
            $known = implode(', ', self::PRIORITIES);
            $message = "A priority is one of $known, not " . Json::quote($priority);
            throw Errors::invalidQuestion($message);
        }
        if ($tenant === '') {
            return $priority === 'normal' ? '' : $priority;
        }
        $isPlain = preg_match('/\A[A-Za-z0-9_.-]{1,64}\z/', $tenant) === 1;
        return "$priority:" . ($isPlain ? $tenant : sha1($tenant));
    }
}
