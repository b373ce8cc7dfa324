<?php

declare(strict_types=1);

namespace Resident\Wire;

use Resident\Exception\CallerError;
use Resident\Options;

/**
 * One question that has been checked and is ready to be sent.
 *
 * @internal
 */
final class Question
{
    /**
     * @param \SensitiveParameterValue $hidden RQ's job data, so that not even var_export() shows it.
     * @param int $failureTtl How long it is kept if it fails, s.
     * @param string $lane Where it waits behind others; of Lane::of().
     * @param bool $isShared The caller chose the id, so others may wait for the same reply.
     * @param bool $isStreamed The caller reads the answer in deltas.
     */
    private function __construct(
        public readonly string $task,
        public readonly string $id,
        public readonly bool $isShared,
        public readonly int $budgetMs,
        private readonly \SensitiveParameterValue $hidden,
        public readonly int $failureTtl,
        public readonly string $lane,
        public readonly bool $isStreamed = false,
    ) {
    }

    /**
     * @throws CallerError Something is wrong with it; nothing was sent.
     */
    public static function of(
        string $task,
        #[\SensitiveParameter] mixed $question,
        ?string $id,
        int $budgetMs,
        Options $options,
        string $lane = '',
    ): self {
        $task = Names::checkTask($task);
        $checkedId = $id === null ? Names::newId() : Names::checkId($id);
        $data = JobData::encode($task, $question, $options->maxQuestionBytes);
        $hidden = new \SensitiveParameterValue($data);
        return new self($task, $checkedId, $id !== null, $budgetMs, $hidden, $options->failureTtl, $lane);
    }

    /**
     * RQ's job data.
     */
    public function data(): string
    {
        $data = $this->hidden->getValue();
        return is_string($data) ? $data : '';
    }

    /**
     * The same, its answer read in deltas.
     */
    public function streamed(): self
    {
        return new self(
            $this->task,
            $this->id,
            $this->isShared,
            $this->budgetMs,
            $this->hidden,
            $this->failureTtl,
            $this->lane,
            true
        );
    }

    /**
     * What tells two questions apart that are asked with the same id.
     */
    public function digest(): string
    {
        return sha1("$this->task\n" . $this->data());
    }

    /**
     * What is asked stays out of the traces of exceptions.
     *
     * @return array<string, mixed>
     */
    public function __debugInfo(): array
    {
        return ['task' => $this->task, 'id' => $this->id];
    }
}
