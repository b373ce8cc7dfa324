<?php

declare(strict_types=1);

namespace Resident;

use Resident\Exception\CallerError;
use Resident\Exception\OperatorError;
use Resident\Exception\ResidentException;
use Resident\Exception\TransportError;
use Resident\Exception\TryAgain;
use Resident\Wire\Question;
use Resident\Wire\StreamReader;

/**
 * The deltas of one answer as they come: `foreach ($client->stream('chat', 'Why?') as $delta)`.
 *
 * Whoever leaves the loop, or lets go of the stream, stops the model at its next delta; a reader
 * that has not read for 15 s is taken to have left, too. The client may ask other questions meanwhile.
 *
 * @implements \IteratorAggregate<int, string>
 */
final class Stream implements \IteratorAggregate
{
    /**
     * The question's id, which is its RQ job's id too.
     */
    public readonly string $id;

    private readonly StreamReader $reader;
    private readonly int $pid;
    private bool $isOver = false;
    /**
     * Nothing is to be said to Redis any more.
     */
    private bool $isLeft = false;
    private ?ResidentException $error = null;

    /**
     * @internal See Client::stream().
     */
    public function __construct(private readonly Reading $reading, Question $question)
    {
        $this->id = $question->id;
        $this->reader = new StreamReader($question->id);
        $this->pid = Process::id();
    }

    /**
     * @return \Generator<int, string>
     * @throws OperatorError The model failed, or the worker died; what came before is in text().
     * @throws TryAgain The budget ran out (`expired`).
     * @throws TransportError Redis was lost, or what came back is no reply.
     * @throws CallerError The question is not one that the task can answer.
     */
    public function getIterator(): \Generator
    {
        try {
            while (($delta = $this->next()) !== null) {
                yield $delta;
            }
        } finally {
            $this->leave();
        }
    }

    /**
     * What came so far.
     */
    public function text(): string
    {
        return $this->reader->text();
    }

    /**
     * The reply with the whole answer; reads what is left of the stream first.
     *
     * @throws ResidentException The one that ended the stream; TryAgain (`cancelled`) if it was left.
     */
    public function answer(): Answer
    {
        while ($this->next() !== null) {
            continue;
        }
        return $this->reader->answer() ?? throw $this->error
            ?? new TryAgain(ErrorCode::Cancelled, 'This stream was left before its end', $this->id);
    }

    /**
     * Leaves; what has not come yet will not.
     */
    public function leave(): void
    {
        $this->isOver = true;
        // A child of pcntl_fork does not leave for its parent.
        if (!$this->isLeft && $this->pid === Process::id()) {
            $this->isLeft = $this->reading->leave();
        }
    }

    public function __destruct()
    {
        $this->leave();
    }

    /**
     * The end of a copy would end this one's stream.
     */
    private function __clone()
    {
    }

    /**
     * @return never
     */
    public function __serialize(): array
    {
        throw new \LogicException('A Resident\Stream cannot be serialized; keep its text() or its answer()');
    }

    private function next(): ?string
    {
        if ($this->isOver) {
            return null;
        }
        try {
            $delta = $this->reading->next($this->reader);
        } catch (ResidentException $error) {
            $this->error = $error;
            $this->isLeft = $error instanceof TransportError; // nobody would hear it
            $this->leave();
            throw $error;
        }
        if ($this->reader->answer() !== null) {
            $this->leave();
        }
        return $delta === '' ? null : $delta;
    }
}
