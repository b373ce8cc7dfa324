<?php

declare(strict_types=1);

namespace Resident;

use Resident\Exception\ConfigurationError;
use Resident\Wire\Json;

/**
 * What a client does unless a question says otherwise.
 *
 * What is not given is what the operator's variable says, the same that the workers and Python's
 * clients read, else its default.
 */
final class Options
{
    public readonly int $budgetMs;
    public readonly int $maxQuestionBytes;
    public readonly int $failureTtl;
    public readonly int $readTimeoutMs;
    public readonly float $replyTtlS;
    /**
     * RQ's own prefix of its keys, the same as the workers': RQ_KEY_PREFIX, else `rq`.
     * As in RQ it is letters, digits and `_ . : - { }`.
     */
    public readonly string $keyPrefix;

    /**
     * @param int|null $budgetMs How long a caller waits for an answer; RESIDENT_BUDGET_MS, else 5000.
     * @param int|null $maxQuestionBytes The longest question, in bytes of JSON;
     *     RESIDENT_MAX_QUESTION_BYTES, else 262144.
     * @param int|null $failureTtl Seconds that RQ keeps a failed question, -1 for ever;
     *     RESIDENT_FAILURE_TTL, else a week.
     * @param int $readTimeoutMs A Redis that says nothing for so long is gone.
     * @param string|null $keyPrefix RQ's prefix; RQ_KEY_PREFIX, else `rq`.
     * @param float|null $replyTtlS Seconds that what `cancel` says of a question is kept;
     *     RESIDENT_REPLY_TTL_S, else 60.
     * @throws ConfigurationError A number is out of its range, or RQ would refuse the prefix.
     */
    public function __construct(
        ?int $budgetMs = null,
        ?int $maxQuestionBytes = null,
        ?int $failureTtl = null,
        int $readTimeoutMs = 5_000,
        ?string $keyPrefix = null,
        ?float $replyTtlS = null,
    ) {
        $this->keyPrefix = $keyPrefix ?? ((string) getenv('RQ_KEY_PREFIX') ?: 'rq');
        self::checkPrefix($keyPrefix === null ? 'RQ_KEY_PREFIX' : 'keyPrefix', $this->keyPrefix);
        $this->budgetMs = (new Setting('RESIDENT_BUDGET_MS', 5_000, 1, Client::MAX_BUDGET_MS))
            ->whole('budgetMs', $budgetMs);
        $this->maxQuestionBytes = (new Setting('RESIDENT_MAX_QUESTION_BYTES', 262_144, 64, 16_777_216))
            ->whole('maxQuestionBytes', $maxQuestionBytes);
        $this->failureTtl = (new Setting('RESIDENT_FAILURE_TTL', 604_800, -1, 31_536_000))
            ->whole('failureTtl', $failureTtl);
        $this->replyTtlS = (new Setting('RESIDENT_REPLY_TTL_S', 60, 1, 86_400))
            ->number('replyTtlS', $replyTtlS);
        if ($readTimeoutMs < 1 || $readTimeoutMs > 3_600_000) {
            throw new ConfigurationError("readTimeoutMs is $readTimeoutMs; it must be from 1 to 3600000");
        }
        $this->readTimeoutMs = $readTimeoutMs;
    }

    private static function checkPrefix(string $name, string $value): void
    {
        if (preg_match('/\A[A-Za-z0-9_.:{}-]+\z/', $value) !== 1) {
            throw new ConfigurationError(
                "Invalid $name " . Json::quote($value) . ': only letters, digits, and _ . : - { } are allowed'
            );
        }
    }
}
