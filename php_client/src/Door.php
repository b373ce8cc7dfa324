<?php

declare(strict_types=1);

namespace Resident;

use Resident\Exception\CallerError;
use Resident\Exception\OperatorError;
use Resident\Exception\ResidentException;
use Resident\Exception\TryAgain;
use Resident\Redis\ConnectionLost;
use Resident\Redis\ErrorReply;
use Resident\Redis\Fault;
use Resident\Redis\Link;
use Resident\Redis\Script;
use Resident\Redis\Source;
use Resident\Redis\Tries;
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

    /**
     * So many questions are asked by one script, which holds up everybody else in Redis.
     */
    private const CHUNK = 100;

    private readonly Script $ask;
    private readonly Script $askEach;
    /**
     * Looked up once a call, however many questions it refuses.
     *
     * @var list<string>|null
     */
    private ?array $served = null;

    public function __construct(
        private readonly Source $source,
        private readonly Options $options,
        private readonly Tries $tries,
    ) {
        $this->ask = Script::of('ask');
        $this->askEach = Script::of('each_begin', 'ask', 'each_end');
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
        $this->served = null;
        $answer = $this->tries->twiceAtMost($deadline, fn (Link $link, bool $isFirst): mixed => $this->ask->call(
            $link,
            $deadline,
            $this->keys($question),
            $this->arguments($question, $isFirst, $deadline),
        ));
        $refusal = $this->refusal($question, $answer, $deadline);
        if ($refusal !== null) {
            throw $refusal;
        }
    }

    /**
     * Joins the question if Redis has it, and else asks again; whether it is there then.
     *
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    public function enterAgain(Link $link, Question $question, Deadline $deadline): bool
    {
        $arguments = $this->arguments($question, false, $deadline);
        $answer = $this->ask->call($link, $deadline, $this->keys($question), $arguments);
        return self::read($answer)[0] > 0;
    }

    /**
     * Many questions in one write, a hundred a script; never throws for one of them.
     *
     * Those that the deadline overtakes are not asked: nobody would wait for their replies.
     *
     * @param list<Question> $questions
     * @return array<string, ResidentException> Why not, by the ids of those that Redis or ask.lua did not take.
     */
    public function enterAll(array $questions, string $replyTo, Deadline $deadline): array
    {
        $this->served = null;
        $refused = [];
        foreach (array_chunk($questions, self::CHUNK) as $number => $chunk) {
            if ($number > 0 && $deadline->isOver()) {
                break;
            }
            try {
                $refused += $this->enterChunk($chunk, $replyTo, $deadline);
            } catch (ErrorReply $refusal) {
                $refused += $this->faults($refusal, $chunk);
            } catch (ConnectionLost $loss) {
                $isLost = $deadline->isOver() || !$this->source->canReopen(); // then so it is for the rest
                $rest = array_slice($questions, $number * self::CHUNK);
                $refused += $this->faults($loss, $isLost ? $rest : $chunk);
                $this->source->drop();
                if ($isLost) {
                    break;
                }
            }
        }
        return $refused;
    }

    /**
     * @param list<Question> $questions
     * @return array<string, ResidentException>
     */
    private function faults(ErrorReply|ConnectionLost $trouble, array $questions): array
    {
        $place = $this->source->place();
        $faults = [];
        foreach ($questions as $question) {
            $faults[$question->id] = Fault::of($trouble, $place, $question->id);
        }
        return $faults;
    }

    /**
     * Asks those again of which there is neither a job nor, looked for after it, a reply; whether all are
     * there then.
     *
     * @param list<Question> $questions
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    public function enterForgotten(Link $link, array $questions, Mailbox $mailbox, Deadline $deadline): bool
    {
        $isExpected = static fn (Question $question): bool => $mailbox->expects($question->id);
        $gone = $this->gone($link, array_filter($questions, $isExpected), $deadline);
        $replies = $link->call($deadline, 'LRANGE', $mailbox->key, '0', '-1');
        $mailbox->take(is_array($replies) ? $replies : []);
        $areThere = true;
        foreach (array_chunk(array_filter($gone, $isExpected), self::CHUNK) as $chunk) {
            if ($deadline->isOver()) {
                return false;
            }
            $answers = $this->askEach($link, $chunk, false, $mailbox->key, $deadline);
            $codes = is_array($answers) ? array_column(array_map(self::read(...), $answers), 0) : [];
            $areThere = $areThere && $codes !== [] && min($codes) > 0;
        }
        return $areThere;
    }

    /**
     * Those whose jobs are not there, as far as the deadline lets it look.
     *
     * @param array<Question> $questions
     * @return list<Question>
     */
    private function gone(Link $link, array $questions, Deadline $deadline): array
    {
        $gone = [];
        foreach (array_chunk($questions, self::CHUNK) as $chunk) {
            if ($deadline->isOver()) {
                break;
            }
            array_push($gone, ...$this->goneOf($link, $chunk, $deadline));
        }
        return $gone;
    }

    /**
     * The same of a chunk: usually all are there or none, and one command tells.
     *
     * @param list<Question> $questions
     * @return array<Question>
     */
    private function goneOf(Link $link, array $questions, Deadline $deadline): array
    {
        $key = fn (Question $question): string => Keys::job($this->options->keyPrefix, $question->id);
        return match ($link->call($deadline, 'EXISTS', ...array_values(array_map($key, $questions)))) {
            count($questions) => [],
            0 => $questions,
            default => array_filter($questions, static fn (Question $question): bool
                => $link->call($deadline, 'EXISTS', $key($question)) === 0),
        };
    }

    /**
     * @param non-empty-list<Question> $chunk
     * @return array<string, ResidentException>
     */
    private function enterChunk(array $chunk, string $replyTo, Deadline $deadline): array
    {
        $ask = fn (Link $link, bool $isFirst): mixed => $this->askEach($link, $chunk, $isFirst, $replyTo, $deadline);
        $answers = $this->tries->twiceAtMost($deadline, $ask);
        $refused = [];
        foreach ($chunk as $position => $question) {
            $answer = is_array($answers) ? $answers[$position] ?? null : null;
            $refused[$question->id] = $this->refusal($question, $answer, $deadline);
        }
        return array_filter($refused);
    }

    /**
     * @param non-empty-list<Question> $chunk
     */
    private function askEach(Link $link, array $chunk, bool $isFirst, string $replyTo, Deadline $deadline): mixed
    {
        $keys = array_merge(...array_map($this->keys(...), $chunk));
        $arguments = $this->argumentsOfAll($chunk, $isFirst, $deadline, $replyTo);
        return $this->askEach->call($link, $deadline, $keys, $arguments);
    }

    /**
     * KEYS of ask.lua.
     *
     * @return list<string>
     */
    private function keys(Question $question): array
    {
        return Keys::ofAsk($this->options->keyPrefix, $question->task, $question->id);
    }

    /**
     * ARGV of ask.lua.
     *
     * @return list<string>
     */
    private function arguments(Question $question, bool $isFirst, Deadline $deadline, string $replyTo = ''): array
    {
        // The id was made for this question, and nobody can have asked it yet.
        $digest = $isFirst && !$question->isShared ? '' : $question->digest();
        $arguments = [
            $question->id,
            // Whoever asks again has no more time than is left.
            (string) ($isFirst ? $question->budgetMs : max(1, $deadline->leftMs())),
            $question->task,
            $question->data(),
            (string) $question->failureTtl,
        ];
        if ($question->isStreamed) {
            return [...$arguments, $replyTo, $digest, $question->lane, '1'];
        }
        if ($digest !== '' || $question->lane !== '') {
            return [...$arguments, $replyTo, $digest, $question->lane];
        }
        return $replyTo === '' ? $arguments : [...$arguments, $replyTo];
    }

    /**
     * ARGV of the script that asks each.
     *
     * @param list<Question> $questions
     * @return list<string>
     */
    private function argumentsOfAll(array $questions, bool $isFirst, Deadline $deadline, string $replyTo): array
    {
        $arguments = [(string) count($questions)];
        foreach ($questions as $question) {
            $own = $this->arguments($question, $isFirst, $deadline, $replyTo);
            array_push($arguments, (string) count($own), ...$own);
        }
        return $arguments;
    }

    private function refusal(Question $question, mixed $answer, Deadline $deadline): ?ResidentException
    {
        [$code, $number, $limit] = self::read($answer);
        return match ($code) {
            self::QUEUED, self::JOINED, self::ANSWERED => null,
            self::NO_WORKER => $this->noWorker($question, $deadline),
            self::OVERLOADED => $this->overloaded($question, $number, $limit),
            self::CONFLICT => new CallerError(
                ErrorCode::Conflict,
                "Another question was asked with the id '$question->id'; each needs one of its own",
                $question->id
            ),
            self::TOO_LATE => new TryAgain(
                ErrorCode::Overloaded,
                "An answer of '$question->task' takes $number ms now, the budget is $limit ms",
                $question->id
            ),
            default => throw new NoReply('the answer of another script than ask.lua'),
        };
    }

    /**
     * The code stands alone, or in front of two numbers; 0 is none.
     *
     * @return array{int, int, int}
     */
    private static function read(mixed $answer): array
    {
        [$code, $number, $limit] = is_array($answer)
            ? [$answer[0] ?? 0, $answer[1] ?? null, $answer[2] ?? null]
            : [$answer, 0, 0];
        return is_int($code) && is_int($number) && is_int($limit) ? [$code, $number, $limit] : [0, 0, 0];
    }

    private function noWorker(Question $question, Deadline $deadline): OperatorError
    {
        $message = "No worker is ready for the task '$question->task'.";
        try {
            $this->served ??= $this->tasksServed($deadline);
            $message .= ' Tasks served now: ' . (implode(', ', $this->served) ?: 'none') . '.';
        } catch (ErrorReply | ConnectionLost $trouble) { // then they are not named
            if ($trouble instanceof ConnectionLost) {
                $this->source->drop();
            }
        }
        return new OperatorError(ErrorCode::NoWorker, $message, $question->id);
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
        $link = $this->source->link($deadline);
        /** @var array{string, string} $now */
        $now = $link->call($deadline, 'TIME');
        $nowMs = (int) $now[0] * 1000 + intdiv((int) $now[1], 1000);
        $tasks = Keys::tasks($this->options->keyPrefix);
        /** @var list<string> $names */
        $names = $link->call($deadline, 'ZRANGEBYSCORE', $tasks, (string) $nowMs, '+inf');
        sort($names);
        return $names;
    }
}
