<?php

declare(strict_types=1);

namespace Resident\Redis;

use Resident\Deadline;
use Resident\Process;

/**
 * Opens a connection of its own when it is first needed, and keeps it.
 *
 * @internal
 */
final class DsnSource implements Source
{
    private ?\Redis $redis = null;
    private ?Link $link = null;
    private int $pid = 0;

    public function __construct(private readonly Dsn $dsn)
    {
    }

    public function link(Deadline $deadline): Link
    {
        // A child of pcntl_fork must not read from its parent's connection.
        if ($this->link !== null && $this->pid === Process::id()) {
            return $this->link;
        }
        $redis = $this->connect($deadline);
        $link = new Link($redis);
        $this->logIn($link, $deadline);
        [$this->redis, $this->pid] = [$redis, Process::id()];
        return $this->link = $link;
    }

    public function drop(): void
    {
        $redis = $this->redis;
        $this->redis = $this->link = null;
        try {
            $redis?->close();
        } catch (\RedisException) {
            // It is gone already.
        }
    }

    public function release(): void
    {
        if ($this->link?->isInterrupted()) {
            $this->drop();
        }
    }

    public function canReopen(): bool
    {
        return true;
    }

    public function place(): string
    {
        return $this->dsn->place();
    }

    private function connect(Deadline $deadline): \Redis
    {
        $redis = new \Redis();
        $seconds = $deadline->patienceMs() / 1000;
        $context = $this->dsn->tls === [] ? [] : ['stream' => $this->dsn->tls];
        $connect = fn (): bool => $redis->connect(
            $this->dsn->host,
            $this->dsn->port,
            $seconds,
            null,
            0,
            $seconds,
            $context
        );
        try {
            $isConnected = Quietly::run($connect, $warning);
        } catch (\RedisException $error) {
            throw new ConnectionLost($error->getMessage());
        }
        if (!$isConnected) {
            // So it is when TLS fails; the warning has the reason, in several lines.
            throw new ConnectionLost(strtr($warning ?? 'no connection', "\n", ' '));
        }
        // Never repeat a command silently; what may be repeated is decided in Door and Waiting.
        $redis->setOption(\Redis::OPT_MAX_RETRIES, 0);
        return $redis;
    }

    private function logIn(Link $link, Deadline $deadline): void
    {
        if ($this->dsn->user !== '') {
            $link->call($deadline, 'AUTH', $this->dsn->user, $this->dsn->password());
        } elseif ($this->dsn->password() !== '') {
            $link->call($deadline, 'AUTH', $this->dsn->password());
        }
        if ($this->dsn->database !== 0) {
            $link->call($deadline, 'SELECT', (string) $this->dsn->database);
        }
    }
}
