<?php

declare(strict_types=1);

namespace Resident;

use Resident\Exception\CallerError;
use Resident\Exception\ResidentException;
use Resident\Exception\TransportError;
use Resident\Wire\Question;

/**
 * Many questions of one call under the caller's keys, and what came of each.
 *
 * @internal
 */
final class Many
{
    /** @var array<string, Answer|ResidentException> */
    private array $outcomes = [];

    /**
     * @param array<array-key, Question|ResidentException> $entries
     */
    private function __construct(private readonly array $entries)
    {
    }

    /**
     * @param array<mixed> $questions
     */
    public static function of(
        string $task,
        #[\SensitiveParameter] array $questions,
        int $budgetMs,
        Options $options,
        string $lane = '',
    ): self {
        return new self(array_map(
            static function (mixed $question) use (
                $task,
                $budgetMs,
                $options,
                $lane,
            ): Question|ResidentException {
                try {
                    return Question::of($task, $question, null, $budgetMs, $options, $lane);
                } catch (CallerError $error) {
                    return $error;
                }
            },
            $questions
        ));
    }

    /**
     * Those that can be sent.
     *
     * @return list<Question>
     */
    public function good(): array
    {
        return array_values(array_filter(
            $this->entries,
            static fn (Question|ResidentException $entry): bool => $entry instanceof Question
        ));
    }

    public function note(string $id, Answer|ResidentException $outcome): void
    {
        $this->outcomes[$id] = $outcome;
    }

    /**
     * Ids of the questions that nothing has come of yet.
     *
     * @return list<string>
     */
    public function open(): array
    {
        $ids = array_map(static fn (Question $question): string => $question->id, $this->good());
        return array_values(array_filter($ids, fn (string $id): bool => !isset($this->outcomes[$id])));
    }

    /**
     * The first that Redis is to blame for; null if there is none.
     */
    public function fault(): ?TransportError
    {
        foreach ($this->outcomes as $outcome) {
            if ($outcome instanceof TransportError) {
                return $outcome;
            }
        }
        return null;
    }

    /**
     * @return array<array-key, Answer|ResidentException>
     */
    public function outcomes(): array
    {
        return array_map(
            fn (Question|ResidentException $entry): Answer|ResidentException
                => $entry instanceof Question ? $this->outcomes[$entry->id] : $entry,
            $this->entries
        );
    }
}
