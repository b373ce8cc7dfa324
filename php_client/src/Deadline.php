<?php

declare(strict_types=1);

namespace Resident;

use Resident\Exception\CallerError;
use Resident\Exception\Errors;

/**
 * The moment a budget ends, on the monotonic clock.
 *
 * @internal
 */
final class Deadline
{
    /**
     * Even a budget of 1 ms gives Redis so long to answer a command that does not block.
     */
    private const SHORTEST_TIMEOUT_MS = 100;

    private function __construct(private readonly int $atNs)
    {
    }

    /**
     * @throws CallerError invalid_question, if that is no budget
     */
    public static function in(int $budgetMs): self
    {
        if ($budgetMs < 1 || $budgetMs > Client::MAX_BUDGET_MS) {
            throw Errors::invalidQuestion(
                'A budget is a whole number of ms from 1 to ' . Client::MAX_BUDGET_MS . ", not $budgetMs"
            );
        }
        return new self(hrtime(true) + $budgetMs * 1_000_000);
    }

    /**
     * Whole milliseconds that are left, rounded up; 0 when it is over.
     */
    public function leftMs(): int
    {
        return max(0, intdiv($this->atNs - hrtime(true) + 999_999, 1_000_000));
    }

    public function isOver(): bool
    {
        return $this->leftMs() === 0;
    }

    /**
     * How long to wait for a server that should answer at once, and within $longestMs anyway.
     */
    public function timeoutMs(int $longestMs): int
    {
        return min($longestMs, max($this->leftMs(), self::SHORTEST_TIMEOUT_MS));
    }
}
