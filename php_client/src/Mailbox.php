<?php

declare(strict_types=1);

namespace Resident;

use Resident\Wire\Reply;

/**
 * A list in Redis to which the replies to many questions go; their ids tell them apart.
 *
 * @internal
 */
final class Mailbox
{
    public readonly string $key;
    /** @var array<string, true> */
    private array $waiting = [];
    /** @var array<string, string> */
    private array $payloads = [];

    public function __construct()
    {
        $this->key = Keys::mailbox(bin2hex(random_bytes(16)));
    }

    /**
     * @param list<string> $ids
     */
    public function expect(array $ids): void
    {
        $this->waiting = array_fill_keys($ids, true);
    }

    public function isComplete(): bool
    {
        return $this->waiting === [];
    }

    /**
     * Whether the reply to this question is still to come.
     */
    public function expects(string $id): bool
    {
        return isset($this->waiting[$id]);
    }

    /**
     * The replies that came, by their questions' ids.
     *
     * @return array<string, string>
     */
    public function payloads(): array
    {
        return $this->payloads;
    }

    /**
     * Takes down replies that were read.
     *
     * @param array<mixed> $payloads
     */
    public function take(array $payloads): void
    {
        foreach ($payloads as $payload) {
            if (!is_string($payload)) {
                continue;
            }
            $id = Reply::idIn($payload);
            if (isset($this->waiting[$id])) {
                unset($this->waiting[$id]);
                $this->payloads[$id] = $payload;
            }
        }
    }
}
