<?php

declare(strict_types=1);

namespace Resident;

use Resident\Exception\ConfigurationError;
use Resident\Wire\Json;

/**
 * What a client does unless a question says otherwise.
 */
final class Options
{
    /**
     * RQ's own prefix of its keys, the same as the workers': RQ_KEY_PREFIX, else `rq`.
     * As in RQ it is letters, digits and `_ . : - { }`.
     */
    public readonly string $keyPrefix;

    /**
     * @param int $budgetMs How long a caller waits for an answer.
     * @param int $maxQuestionBytes The longest question, in bytes of JSON.
     * @param int $failureTtl Seconds that RQ keeps a failed question; -1 for ever.
     * @param int $readTimeoutMs A Redis that says nothing for so long is gone.
     * @throws ConfigurationError A number is out of its range, or RQ would refuse the prefix.
     */
    public function __construct(
        public readonly int $budgetMs = 5_000,
        public readonly int $maxQuestionBytes = 262_144,
        public readonly int $failureTtl = 604_800,
        public readonly int $readTimeoutMs = 5_000,
        ?string $keyPrefix = null,
    ) {
        $prefix = $keyPrefix ?? getenv('RQ_KEY_PREFIX');
        $this->keyPrefix = $prefix === false ? 'rq' : $prefix;
        self::checkPrefix($keyPrefix === null ? 'RQ_KEY_PREFIX' : 'keyPrefix', $this->keyPrefix);
        self::checkRange('budgetMs', $budgetMs, 1, Client::MAX_BUDGET_MS);
        self::checkRange('maxQuestionBytes', $maxQuestionBytes, 64, 16_777_216);
        self::checkRange('failureTtl', $failureTtl, -1, 31_536_000);
        self::checkRange('readTimeoutMs', $readTimeoutMs, 1, 3_600_000);
    }

    private static function checkPrefix(string $name, string $value): void
    {
        if (preg_match('/\A[A-Za-z0-9_.:{}-]+\z/', $value) !== 1) {
            throw new ConfigurationError(
                "Invalid $name " . Json::quote($value) . ': only letters, digits, and _ . : - { } are allowed'
            );
        }
    }

    private static function checkRange(string $name, int $value, int $low, int $high): void
    {
        if ($value < $low || $value > $high) {
            throw new ConfigurationError("$name is $value; it must be from $low to $high");
        }
    }
}
