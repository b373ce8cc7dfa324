<?php

declare(strict_types=1);

namespace Resident\Wire;

use Resident\Answer;
use Resident\Exception\ResidentException;

/**
 * Reads the payloads of one stream in their order; every known field is checked.
 *
 * @internal
 */
final class StreamReader
{
    private string $text = '';
    private int $next = 0;
    private ?Answer $answer = null;

    public function __construct(private readonly string $id)
    {
    }

    /**
     * What came so far.
     */
    public function text(): string
    {
        return $this->text;
    }

    /**
     * The reply, once it has come.
     */
    public function answer(): ?Answer
    {
        return $this->answer;
    }

    /**
     * The delta in a payload, or what the reply's answer has beyond the deltas before it.
     *
     * That is '', unless a worker answered that does not stream, such as RQ's own.
     *
     * @throws ResidentException The error that the reply carries; what came before stays in text().
     * @throws NoReply This is not what comes next of this stream, in a version that we read.
     */
    public function read(string $payload): string
    {
        $part = Reply::object($payload);
        $delta = array_key_exists('ok', $part) ? $this->restOf($payload) : $this->deltaOf($part);
        $this->text .= $delta;
        return $delta;
    }

    /**
     * @param array<mixed> $part
     */
    private function deltaOf(array $part): string
    {
        Reply::checkVersionAndId($part, $this->id);
        if (($part['seq'] ?? null) !== $this->next) {
            throw new NoReply("another part of a stream than part $this->next, which comes next");
        }
        $delta = $part['delta'] ?? null;
        if (!is_string($delta) || $delta === '') {
            throw new NoReply('a part of a stream without its delta');
        }
        $this->next++;
        return $delta;
    }

    private function restOf(string $payload): string
    {
        $answer = Reply::decode($payload, $this->id);
        $isText = is_string($answer->answer) && str_starts_with($answer->answer, $this->text);
        if ($this->text !== '' && !$isText) {
            throw new NoReply('an answer that does not begin with its deltas');
        }
        $this->answer = $answer;
        return $isText ? substr($answer->answer, strlen($this->text)) : '';
    }
}
