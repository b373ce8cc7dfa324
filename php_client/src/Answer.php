<?php

declare(strict_types=1);

namespace Resident;

/**
 * The answer to one question.
 */
final class Answer implements \Stringable
{
    /**
     * @param mixed $answer What the task returned; JSON objects are arrays with string keys, and whole
     *     numbers beyond PHP's own are strings of their digits.
     * @param string $id The question's id, which is its RQ job's id too.
     * @param float $queuedMs How long the question waited for a worker.
     * @param float $modelMs How long the model took for its batch.
     * @param int $batch How many questions the model answered in the same call.
     */
    public function __construct(
        public readonly mixed $answer,
        public readonly string $id,
        public readonly float $queuedMs,
        public readonly float $modelMs,
        public readonly int $batch,
    ) {
    }

    /**
     * The answer itself if it is a string, else its JSON.
     */
    public function __toString(): string
    {
        return is_string($this->answer) ? $this->answer : Wire\Json::encode($this->answer);
    }
}
