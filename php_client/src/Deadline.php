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
     * Redis may say so much later what it has to say at the end of a budget.
     */
    private const GRACE_MS = 45;
    /**
     * Blocks end so much before the budget does: a Redis with nothing else to do looks for the ends
     * of blocks every 100 ms only (`hz`), and ext-redis can do nothing but wait for that.
     */
    private const BLOCKS_END_EARLIER_MS = 80;

    private function __construct(
        public readonly int $budgetMs,
        private readonly int $atNs,
        private readonly int $readTimeoutMs,
    ) {
    }

    /**
     * @param int $readTimeoutMs A Redis that says nothing for so long is gone.
     * @throws CallerError invalid_question, if that is no budget
     */
    public static function in(int $budgetMs, int $readTimeoutMs = 5_000): self
    {
        if ($budgetMs < 1 || $budgetMs > Client::MAX_BUDGET_MS) {
            throw Errors::invalidQuestion(
                'A budget is a whole number of ms from 1 to ' . Client::MAX_BUDGET_MS . ", not $budgetMs"
            );
        }
        return new self($budgetMs, hrtime(true) + $budgetMs * 1_000_000, $readTimeoutMs);
    }

    /**
     * Whole milliseconds that are left, rounded up; 0 when it is over.
     */
    public function leftMs(): int
    {
        return max(0, $this->untilMs());
    }

    public function isOver(): bool
    {
        return $this->leftMs() === 0;
    }

    /**
     * How long a command may block in Redis; 0 if so little is left that it should not.
     */
    public function blockMs(): int
    {
        return max(0, $this->untilMs() - self::BLOCKS_END_EARLIER_MS);
    }

    /**
     * How long to wait for an answer that should come at once.
     */
    public function patienceMs(): int
    {
        return min($this->readTimeoutMs, $this->blockPatienceMs());
    }

    /**
     * How long to wait for the answer to a command that blocks.
     */
    public function blockPatienceMs(): int
    {
        return max(1, $this->untilMs() + self::GRACE_MS);
    }

    private function untilMs(): int
    {
        $untilNs = $this->atNs - hrtime(true);
        return $untilNs > 0 ? intdiv($untilNs + 999_999, 1_000_000) : intdiv($untilNs, 1_000_000);
    }
}
