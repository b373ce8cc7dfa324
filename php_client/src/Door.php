<?php

declare(strict_types=1);

namespace Resident;

use Resident\Exception\CallerError;
use Resident\Exception\OperatorError;
use Resident\Exception\TryAgain;
use Resident\Redis\ConnectionLost;
use Resident\Redis\ErrorReply;
use Resident\Redis\Script;
use Resident\Redis\Source;
use Resident\Wire\NoReply;
use Resident\Wire\Question;

/**
 * Puts a question on its task's queue, or says why not.
 *
 * @internal
 */
final class Door
{
    // Return codes of ask.lua.
    private const QUEUED = 1;
    private const JOINED = 2;
    private const ANSWERED = 3;
    private const NO_WORKER = -1;
    private const OVERLOADED = -2;
    private const CONFLICT = -3;
    private const TOO_LATE = -4;

    private readonly Script $script;

    public function __construct(private readonly Source $source, private readonly Options $options)
    {
        $this->script = Script::named('ask');
    }

    /**
     * @throws CallerError conflict
     * @throws OperatorError no_worker
     * @throws TryAgain overloaded
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    public function enter(Question $question, Deadline $deadline): void
    {
        $answer = $this->callTwiceAtMost($question, $deadline);
        $code = is_array($answer) ? $answer[0] ?? null : null;
        match ($code) {
            self::QUEUED, self::JOINED, self::ANSWERED => null,
            self::NO_WORKER => throw $this->noWorker($question, $deadline),
            self::OVERLOADED => throw $this->overloaded($question, $answer[1], $answer[2]),
            self::CONFLICT => throw new CallerError(
                ErrorCode::Conflict,
                "Another question was asked with the id '$question->id'",
                $question->id
            ),
            self::TOO_LATE => throw new TryAgain(
                ErrorCode::Overloaded,
                "An answer of '$question->task' takes $answer[1] ms now, longer than the budget",
                $question->id
            ),
            default => throw new NoReply('the answer of another script than ask.lua'),
        };
    }

    /**
     * A kept connection may turn out to be dead, so one new one is tried, at once.
     *
     * Safe to repeat: an id that may be there already is joined, not asked twice.
     */
    private function callTwiceAtMost(Question $question, Deadline $deadline): mixed
    {
        try {
            return $this->call($question, $deadline, !$question->isShared);
        } catch (ConnectionLost $loss) {
            if (!$this->source->canReopen() || $deadline->isOver()) {
                throw $loss;
            }
        }
        $this->source->drop();
        return $this->call($question, $deadline, isNew: false);
    }

    /**
     * @param bool $isNew The id was made for this question, and nobody can have asked it yet.
     */
    private function call(Question $question, Deadline $deadline, bool $isNew): mixed
    {
        $prefix = $this->options->keyPrefix;
        $timeoutMs = $deadline->timeoutMs($this->options->readTimeoutMs);
        return $this->script->call(
            $this->source->link($timeoutMs),
            $timeoutMs,
            Keys::ofAsk($prefix, $question->task, $question->id),
            [
                $question->id,
                (string) $question->budgetMs,
                Keys::ownWorkers($prefix),
                $isNew ? '' : $question->digest(),
                '',
                ...$question->fields(),
            ],
        );
    }

    private function noWorker(Question $question, Deadline $deadline): OperatorError
    {
        $served = implode(', ', $this->tasksServed($deadline)) ?: 'none';
        return new OperatorError(
            ErrorCode::NoWorker,
            "No worker is ready for the task '$question->task'. Tasks served now: $served.",
            $question->id
        );
    }

    private function overloaded(Question $question, int $waiting, int $limit): TryAgain
    {
        return new TryAgain(
            ErrorCode::Overloaded,
            "$waiting questions wait for '$question->task' already; $limit are allowed",
            $question->id
        );
    }

    /**
     * @return list<string>
     */
    private function tasksServed(Deadline $deadline): array
    {
        $timeoutMs = $deadline->timeoutMs($this->options->readTimeoutMs);
        $link = $this->source->link($timeoutMs);
        /** @var array{string, string} $now */
        $now = $link->call($timeoutMs, 'TIME');
        $nowMs = (int) $now[0] * 1000 + intdiv((int) $now[1], 1000);
        $tasks = Keys::tasks($this->options->keyPrefix);
        /** @var list<string> $names */
        $names = $link->call($timeoutMs, 'ZRANGEBYSCORE', $tasks, (string) $nowMs, '+inf');
        sort($names);
        return $names;
    }
}
