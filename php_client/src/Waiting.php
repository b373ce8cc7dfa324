<?php

declare(strict_types=1);

namespace Resident;

use Resident\Redis\ConnectionLost;
use Resident\Redis\ErrorReply;
use Resident\Redis\Link;
use Resident\Redis\Source;
use Resident\Wire\NoReply;

/**
 * Waits for replies to questions that are on their queues.
 *
 * @internal
 */
final class Waiting
{
    /**
     * Between two tries to reach Redis again.
     */
    private const RECONNECT_PAUSE_MS = 50;
    /**
     * Between two looks when so little is left that Redis should not block.
     */
    private const LOOK_EACH_MS = 4;
    /**
     * Between two looks at a Redis that is full, and so refuses to block.
     */
    private const LOOK_EACH_FULL_MS = 10;
    /**
     * After a connection was lost, how long to wait until the question is asked again.
     */
    private const ASK_AGAIN_MS = 1_000;
    /**
     * So many replies are read at once.
     */
    private const MOST = 500;

    public function __construct(private readonly Source $source, private readonly Log $log)
    {
    }

    /**
     * The reply, or null when the deadline has passed; reconnects meanwhile if it must and can.
     *
     * @param bool $keep Leave the reply for others who wait for it, and for another try.
     * @param (\Closure(Link): bool)|null $askAgain When Redis was lost, which may have forgotten the question:
     *     says whether it is there now.
     * @throws ErrorReply
     * @throws ConnectionLost
     * @throws NoReply
     */
    public function forReply(string $id, bool $keep, Deadline $deadline, ?\Closure $askAgain = null): ?string
    {
        // A reply that is not kept may go the way of a lost connection, of which Redis does not know yet: it is
        // served there first. Then nothing but another run brings an answer.
        $wasLost = $mayGoAstray = false;
        $read = function (Link $link) use ($id, $keep, $deadline, $askAgain, &$wasLost, &$mayGoAstray): ?string {
            if ($wasLost && $askAgain !== null) {
                $mayGoAstray = !$keep;
                if (!$askAgain($link)) {
                    usleep(min(self::RECONNECT_PAUSE_MS, $deadline->leftMs()) * 1000);
                    return null;
                }
            }
            $wasLost = true;
            $mostMs = min($deadline->blockMs(), $mayGoAstray ? self::ASK_AGAIN_MS : PHP_INT_MAX);
            $payload = self::readReply($link, Keys::reply($id), $keep, $deadline, $mostMs);
            $wasLost = $mayGoAstray;
            return $payload;
        };
        return $this->untilSomething($deadline, $read);
    }

    private static function readReply(
        Link $link,
        string $key,
        bool $keep,
        Deadline $deadline,
        int $blockMs,
    ): ?string {
        return self::payloadIn(match (true) {
            $keep => self::head($link, $key, $deadline),
            $blockMs === 0 => $link->call($deadline, 'LPOP', $key),
            default => $link->callBlocking($deadline, 'BLPOP', $key, self::seconds($blockMs)),
        });
    }

    /**
     * What a list gave, alone or behind the list's name; null for nothing.
     *
     * @throws NoReply Redis answers something else, such as QUEUED in a transaction.
     */
    public static function payloadIn(mixed $reply): ?string
    {
        // ext-redis says false, null or an empty list for nothing, after its version and options.
        if ($reply === false || $reply === null || $reply === []) {
            return null;
        }
        $payload = is_array($reply) ? $reply[1] ?? null : $reply;
        return is_string($payload) ? $payload : throw new NoReply('the answer to another command');
    }

    /**
     * What comes first in a list, where it stays, or nothing.
     */
    private static function head(Link $link, string $key, Deadline $deadline): mixed
    {
        $blockMs = $deadline->blockMs();
        $move = [$key, $key, 'LEFT', 'LEFT'];
        try {
            // LINDEX would do, but for a replica, which has to be told from a Redis without a reply.
            return $blockMs === 0
                ? $link->call($deadline, 'LMOVE', ...$move)
                : $link->callBlocking($deadline, 'BLMOVE', ...[...$move, self::seconds($blockMs)]);
        } catch (ErrorReply $refusal) {
            return $refusal->isFull() ? self::headOfFull($link, $key, $deadline) : throw $refusal;
        }
    }

    /**
     * The same of a Redis that is full: it is answered all the same, but refuses to block.
     */
    private static function headOfFull(Link $link, string $key, Deadline $deadline): mixed
    {
        $head = $link->call($deadline, 'LINDEX', $key, '0');
        if (!is_string($head)) {
            usleep(min(self::LOOK_EACH_FULL_MS, $deadline->leftMs()) * 1000);
        }
        return $head;
    }

    private static function seconds(int $blockMs): string
    {
        return sprintf('%.3F', $blockMs / 1000);
    }

    /**
     * Fills the mailbox until it is complete or the deadline has passed.
     *
     * Replies are taken out of Redis after they have come: a connection that breaks loses none.
     *
     * @param \Closure(Link): bool $askAgain As for forReply, for all that the mailbox expects.
     * @throws ErrorReply
     * @throws ConnectionLost
     * @throws NoReply
     */
    public function forReplies(Mailbox $mailbox, Deadline $deadline, \Closure $askAgain): void
    {
        $wasLost = false;
        $read = static function (Link $link) use ($mailbox, $deadline, $askAgain, &$wasLost): ?bool {
            if ($wasLost && !$mailbox->isComplete() && !$askAgain($link)) {
                usleep(min(self::RECONNECT_PAUSE_MS, $deadline->leftMs()) * 1000);
                return null;
            }
            $wasLost = true;
            $isComplete = self::readReplies($link, $mailbox, $deadline);
            $wasLost = false;
            return $isComplete ?: null;
        };
        $this->untilSomething($deadline, $read);
    }

    private static function readReplies(Link $link, Mailbox $mailbox, Deadline $deadline): bool
    {
        if ($mailbox->isComplete()) {
            return true; // and the connection was lost over taking it out
        }
        $key = $mailbox->key;
        if (self::payloadIn(self::head($link, $key, $deadline)) === null) {
            return false;
        }
        $replies = $link->call($deadline, 'LRANGE', $key, '0', (string) (self::MOST - 1));
        $replies = is_array($replies) ? $replies : [];
        $mailbox->take($replies);
        $link->call($deadline, 'LTRIM', $key, (string) count($replies), '-1');
        return $mailbox->isComplete();
    }

    /**
     * Reads until something comes, or returns null when the deadline has passed.
     *
     * @template T
     * @param \Closure(Link): ?T $read
     * @return ?T
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    public function untilSomething(Deadline $deadline, \Closure $read): mixed
    {
        do {
            $trouble = $found = null;
            try {
                $found = $read($this->source->link($deadline));
            } catch (ConnectionLost | ErrorReply $trouble) {
                $this->pauseAfter($trouble, $deadline);
            }
            if ($found === null && $trouble === null && $deadline->blockMs() === 0) {
                usleep(min(self::LOOK_EACH_MS, $deadline->leftMs()) * 1000);
            }
        } while ($found === null && !$deadline->isOver());
        return $trouble === null ? $found : throw $trouble;
    }

    /**
     * Throws what will not pass by itself.
     */
    private function pauseAfter(ConnectionLost|ErrorReply $trouble, Deadline $deadline): void
    {
        $mayPass = $trouble instanceof ConnectionLost || $trouble->isPassing();
        if (!$mayPass || !$this->source->canReopen()) {
            throw $trouble;
        }
        $place = $this->source->place();
        $this->source->drop(); // first, since a logger may throw
        $this->log->lost($place, $trouble);
        $pauseMs = random_int(intdiv(self::RECONNECT_PAUSE_MS, 2), self::RECONNECT_PAUSE_MS);
        usleep(min($pauseMs, $deadline->leftMs()) * 1000);
    }
}
