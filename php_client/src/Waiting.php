<?php

declare(strict_types=1);

namespace Resident;

use Resident\Redis\ConnectionLost;
use Resident\Redis\ErrorReply;
use Resident\Redis\Source;
use Resident\Wire\Question;

/**
 * Waits for the reply to a question that is on its queue.
 *
 * @internal
 */
final class Waiting
{
    /**
     * Between two tries to reach Redis again.
     */
    private const RECONNECT_PAUSE_MS = 50;

    public function __construct(private readonly Source $source, private readonly Options $options)
    {
    }

    /**
     * The reply, or null when the deadline has passed; reconnects meanwhile if it must and can.
     *
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    public function forReply(Question $question, Deadline $deadline): ?string
    {
        do {
            $trouble = null;
            try {
                $payload = $this->read($question, $deadline);
            } catch (ConnectionLost | ErrorReply $trouble) {
                $payload = null;
                $this->pauseAfter($trouble, $deadline);
            }
        } while ($payload === null && !$deadline->isOver());
        return $trouble === null ? $payload : throw $trouble;
    }

    private function read(Question $question, Deadline $deadline): ?string
    {
        $marginMs = $this->options->readTimeoutMs;
        $link = $this->source->link($deadline->timeoutMs($marginMs));
        $key = Keys::reply($question->id);
        // 0 would block for ever; the reply may be there although the budget is over.
        $blockMs = max(1, $deadline->leftMs());
        // A shared reply stays for the others who wait for it.
        $reply = $question->isShared
            ? $link->callBlocking($blockMs, $marginMs, 'BLMOVE', $key, $key, 'LEFT', 'LEFT')
            : $link->callBlocking($blockMs, $marginMs, 'BLPOP', $key);
        $payload = is_array($reply) ? $reply[1] ?? null : $reply;
        return is_string($payload) ? $payload : null;
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
        $this->source->drop();
        $pauseMs = random_int(intdiv(self::RECONNECT_PAUSE_MS, 2), self::RECONNECT_PAUSE_MS);
        usleep(min($pauseMs, $deadline->leftMs()) * 1000);
    }
}
