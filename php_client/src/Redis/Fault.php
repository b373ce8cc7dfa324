<?php

declare(strict_types=1);

namespace Resident\Redis;

use Resident\Exception\TransportError;

/**
 * Says what is wrong with Redis in a sentence that tells an operator what to do.
 *
 * @internal
 */
final class Fault
{
    public static function of(
        ErrorReply|ConnectionLost $error,
        string $place,
        string $id,
    ): TransportError {
        $sentence = $error instanceof ErrorReply ? self::refusal($error) : self::loss($error);
        // No previous exception: its trace may hold the password.
        return new TransportError("Redis at $place $sentence", $id);
    }

    private static function refusal(ErrorReply $error): string
    {
        $message = rtrim($error->getMessage(), " .\r\n");
        // Redis says so to a long command of somebody who has not logged in.
        $isUnauthenticated = str_contains($message, 'unauthenticated');
        return match ($isUnauthenticated ? 'NOAUTH' : $error->word()) {
            'NOAUTH' => "wants a password, and none was given ($message)",
            'WRONGPASS' => "refuses the user or the password ($message)",
            'NOPERM' => "does not let this user ask ($message)",
            'OOM' => "is full, so nothing was written ($message)",
            'READONLY' => "is a replica that cannot be written to ($message)",
            'MASTERDOWN' => "is a replica that has lost its master ($message)",
            'LOADING' => "is still loading its data ($message)",
            'MOVED', 'ASK', 'CROSSSLOT', 'CLUSTERDOWN'
                => "is a cluster, and Resident needs a single Redis ($message)",
            default => "refused a command ($message)",
        };
    }

    private static function loss(ConnectionLost $error): string
    {
        $message = trim(strtr($error->getMessage(), "\r\n", '  '));
        if (str_contains($message, 'protocol error')) {
            return "cannot be reached: what answers there is no Redis ($message)";
        }
        // What ext-redis 5 and 6 say when the read timeout is over or the peer has closed.
        $isSilent = preg_match('/read error|socket error on read/i', $message) === 1;
        return $isSilent ? "did not answer ($message)" : "cannot be reached ($message)";
    }
}
