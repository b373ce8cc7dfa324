<?php

declare(strict_types=1);

namespace Resident\Tests\Support;

use PHPUnit\Framework\Assert;
use PHPUnit\Framework\TestCase;
use Resident\Redis\Dsn;

/**
 * One of the Redis servers that tests/php/run.py starts.
 */
final class Server
{
    private function __construct(public readonly string $url, public readonly \Redis $redis)
    {
    }

    /**
     * With an echo worker.
     */
    public static function served(): self
    {
        return self::named('RESIDENT_REDIS_URL');
    }

    /**
     * With a worker of the task `tell`, which streams what its question says.
     */
    public static function told(): self
    {
        return self::named('RESIDENT_TOLD_REDIS_URL');
    }

    /**
     * Without any worker, and empty.
     */
    public static function spare(): self
    {
        $server = self::named('RESIDENT_SPARE_REDIS_URL');
        $server->redis->config('SET', 'maxmemory', '0');
        $server->redis->flushAll();
        return $server;
    }

    /**
     * Another connection, as a caller would open it.
     */
    public function connect(): \Redis
    {
        $dsn = Dsn::parse($this->url);
        $redis = new \Redis();
        $redis->connect($dsn->host, $dsn->port);
        $redis->auth($dsn->password());
        return $redis;
    }

    /**
     * Lets it run a script without an end; returns as soon as it says so to everybody.
     */
    public function halt(): void
    {
        $other = $this->connect();
        $other->setOption(\Redis::OPT_READ_TIMEOUT, 0.05);
        try {
            $other->rawCommand('EVAL', 'while true do end', '0');
        } catch (\RedisException) {
            // It is not answered.
        }
        Wait::until(fn (): bool => $this->isHalted());
    }

    public function goOn(): void
    {
        $this->redis->rawCommand('SCRIPT', 'KILL');
        Wait::until(fn (): bool => !$this->isHalted());
    }

    private function isHalted(): bool
    {
        try {
            return $this->redis->rawCommand('ECHO', 'x') !== 'x';
        } catch (\RedisException) {
            return true; // "BUSY Redis is busy running a script"
        }
    }

    /**
     * The connection that PHP keeps from an earlier request, or a new one, as examples/page.php.
     */
    public function connectPersistently(): \Redis
    {
        $dsn = Dsn::parse($this->url);
        $redis = new \Redis();
        $redis->pconnect($dsn->host, $dsn->port);
        if (!$redis->auth($dsn->password())) {
            $redis->close();
            throw new \RedisException('Redis refused the password');
        }
        return $redis;
    }

    /**
     * The URL with another user and password.
     */
    public function urlAs(string $userAndPassword): string
    {
        return preg_replace('~//[^@]*@~', "//$userAndPassword@", $this->url);
    }

    /**
     * What a ready worker says of itself, though there is none.
     */
    public function announce(string $task, int $maxBacklog = 1000, string $own = 'resident'): void
    {
        $untilMs = (int) (microtime(true) * 1000) + 60_000;
        $this->redis->zAdd("$own:tasks", $untilMs, $task);
        $this->redis->hSet("$own:task:$task", 'max_backlog', (string) $maxBacklog);
    }

    /**
     * Puts a reply where the caller with this id looks for it.
     */
    public function reply(string $id, string $answer, ?string $mailbox = null): void
    {
        $this->redis->rPush($mailbox ?? "resident:reply:$id", json_encode([
            'v' => 1,
            'id' => $id,
            'ok' => true,
            'answer' => $answer,
            'ms' => ['queued' => 1.5, 'model' => 2.5],
            'batch' => 3,
        ]));
    }

    /**
     * Puts a part of a stream where its reader looks for it.
     */
    public function part(string $id, int $seq, string $delta): void
    {
        $part = ['v' => 1, 'id' => $id, 'seq' => $seq, 'delta' => $delta];
        $this->redis->rPush("resident:reply:$id", json_encode($part));
    }

    /**
     * Waits until a client is blocked in this command, and returns the client's id.
     */
    public function blockedIn(string $command): string
    {
        return Wait::until(function () use ($command): ?string {
            foreach ($this->redis->client('list') as $client) {
                if ($client['cmd'] === $command && str_contains($client['flags'], 'b')) {
                    return (string) $client['id'];
                }
            }
            return null;
        });
    }

    private static function named(string $variable): self
    {
        $url = getenv($variable);
        if ($url === false) {
            getenv('CI') ? Assert::fail("$variable is not set") : TestCase::markTestSkipped(
                "$variable is not set; python tests/php/run.py starts what these tests need"
            );
        }
        $server = new self($url, new \Redis());
        $dsn = Dsn::parse($url);
        $server->redis->connect($dsn->host, $dsn->port);
        $server->redis->auth($dsn->password());
        return $server;
    }
}
