<?php

declare(strict_types=1);

namespace Resident;

use Resident\Exception\ConfigurationError;
use Resident\Exception\ResidentException;
use Resident\Exception\TransportError;
use Resident\Exception\TryAgain;
use Resident\Redis\ErrorReply;
use Resident\Redis\Link;
use Resident\Redis\Tries;
use Resident\Wire\Question;
use Resident\Wire\StreamReader;

/**
 * Reads one stream from Redis, and says there that it is read.
 *
 * @internal
 */
final class Reading
{
    /**
     * How long a worker takes a reader for there after it last said so.
     */
    private const READING_MS = '15000';
    /**
     * How often a reader says so.
     */
    private const RENEW_MS = 5_000;
    /**
     * Saying that one leaves may take so long, and less when the budget is over.
     */
    private const LEAVE_MS = 20;

    private int $renewAtNs = 0;
    private bool $mayWait = false;
    private bool $wasLost = false;

    /**
     * @param \Closure(string, \Closure(): mixed): mixed $guarded Does what needs Redis for an id, and gives the
     *     connection back; between two deltas it may serve other questions.
     */
    public function __construct(
        private readonly \Closure $guarded,
        private readonly Tries $tries,
        private readonly Waiting $waiting,
        private readonly Cancelling $cancelling,
        private readonly Question $question,
        private readonly Deadline $deadline,
        private readonly string $jobKey,
    ) {
    }

    /**
     * Asks. The reader is there before the question, else a quick worker would find nobody.
     *
     * @throws ResidentException
     */
    public function enter(Door $door): void
    {
        try {
            ($this->guarded)($this->question->id, function () use ($door): void {
                $this->tries->twiceAtMost($this->deadline, $this->say(...));
                $door->enter($this->question, $this->deadline);
                $this->mayWait = true;
            });
        } catch (TransportError $loss) {
            throw $loss; // what Redis holds of this stream expires
        } catch (ResidentException $refusal) {
            $this->leave();
            throw $refusal;
        }
    }

    /**
     * The next delta; '' if the reply has come instead.
     *
     * @throws ResidentException
     */
    public function next(StreamReader $reader): string
    {
        $delta = '';
        ($this->guarded)($this->question->id, function () use ($reader, &$delta): void {
            $payload = $this->waiting->untilSomething($this->deadline, $this->read(...));
            if ($payload === null) {
                $message = "The answer did not end within {$this->deadline->budgetMs} ms";
                throw new TryAgain(ErrorCode::Expired, $message, $this->question->id);
            }
            $this->mayWait = false;
            $delta = $reader->read($payload);
        });
        return $delta;
    }

    /**
     * Says that nobody reads any more, if Redis is there to hear it; a question of which nothing has
     * come is taken off its queue, too.
     *
     * @return bool False if its owner is in the middle of something with the Redis object, and it can be said later.
     */
    public function leave(): bool
    {
        $id = $this->question->id;
        try {
            ($this->guarded)($id, function () use ($id): void {
                $soon = Deadline::in($this->deadline->isOver() ? 1 : self::LEAVE_MS);
                if ($this->mayWait) {
                    $this->cancelling->cancel($id, $soon);
                }
                $leave = static fn (Link $link): mixed
                    => $link->call($soon, 'DEL', Keys::reading($id), Keys::reply($id));
                $this->tries->twiceAtMost($soon, $leave);
            });
        } catch (ResidentException) {
            // Both expire by themselves.
        } catch (ConfigurationError) {
            return false;
        }
        return true;
    }

    private function read(Link $link): ?string
    {
        if ($this->wasLost && $this->hasEnded($link)) {
            throw new TransportError(
                'The connection to Redis broke off, and took with it what came last of this stream',
                $this->question->id
            );
        }
        $this->wasLost = true;
        $payload = $this->readOnce($link);
        $this->wasLost = false;
        return $payload;
    }

    /**
     * Whether nothing more will come, not even the reply: that was taken, and did not get here.
     */
    private function hasEnded(Link $link): bool
    {
        $status = $link->call($this->deadline, 'HGET', $this->jobKey, 'status');
        return !in_array($status, ['queued', 'started'], true)
            && $link->call($this->deadline, 'LLEN', Keys::reply($this->question->id)) === 0;
    }

    private function readOnce(Link $link): ?string
    {
        if (hrtime(true) >= $this->renewAtNs) {
            $this->sayAgain($link);
        }
        $key = Keys::reply($this->question->id);
        $blockMs = min($this->deadline->blockMs(), self::RENEW_MS);
        return Waiting::payloadIn($blockMs === 0
            ? $link->call($this->deadline, 'LPOP', $key)
            : $link->callBlocking($this->deadline, 'BLPOP', $key, sprintf('%.3F', $blockMs / 1000)));
    }

    private function sayAgain(Link $link): void
    {
        try {
            $this->say($link);
        } catch (ErrorReply $refusal) {
            if (!$refusal->isFull()) {
                throw $refusal;
            }
            // This needs no memory; and what will be read comes although Redis is full.
            $link->call($this->deadline, 'PEXPIRE', Keys::reading($this->question->id), self::READING_MS);
            $this->renewAtNs = hrtime(true) + self::RENEW_MS * 1_000_000;
        }
    }

    private function say(Link $link): void
    {
        $key = Keys::reading($this->question->id);
        $link->call($this->deadline, 'SET', $key, '1', 'PX', self::READING_MS);
        $this->renewAtNs = hrtime(true) + self::RENEW_MS * 1_000_000;
    }
}
