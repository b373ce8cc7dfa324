<?php

declare(strict_types=1);

namespace Resident\Redis;

use Resident\Deadline;
use Resident\Exception\ConfigurationError;
use Resident\Process;

/**
 * Takes connections from a function of the caller's, another one after each that was lost.
 *
 * @internal
 */
final class FactorySource implements Source
{
    private ?LentSource $lent = null;
    private int $pid = 0;

    /**
     * @param \Closure(): \Redis $factory
     */
    public function __construct(private readonly \Closure $factory)
    {
    }

    public function link(Deadline $deadline): Link
    {
        // A child of pcntl_fork must not read from its parent's connection.
        if ($this->lent === null || $this->pid !== Process::id()) {
            $this->lent = new LentSource($this->make());
            $this->pid = Process::id();
        }
        return $this->lent->link($deadline);
    }

    public function drop(): void
    {
        $this->lent?->drop();
        $this->lent?->release();
        $this->lent = null;
    }

    public function release(): void
    {
        $this->lent?->release();
    }

    public function canReopen(): bool
    {
        return true;
    }

    public function place(): string
    {
        return $this->lent?->place() ?? 'the place that the factory connects to';
    }

    private function make(): \Redis
    {
        try {
            $redis = Quietly::run($this->factory, $warning);
        } catch (\RedisException $error) {
            throw self::meaningOf($error->getMessage());
        }
        if (!$redis instanceof \Redis) {
            throw new ConfigurationError(
                'The factory returned ' . get_debug_type($redis) . '; it must return a connected \Redis object'
            );
        }
        if ($warning !== null && !$redis->isConnected()) {
            // So it is when TLS fails; the warning has the reason, in several lines.
            throw new ConnectionLost(strtr($warning, "\n", ' '));
        }
        return $redis;
    }

    /**
     * What auth() and select() throw is an answer of Redis.
     */
    private static function meaningOf(string $message): ErrorReply|ConnectionLost
    {
        return preg_match('/\A(ERR|WRONGPASS|NOAUTH|NOPERM|LOADING) /', $message) === 1
            ? new ErrorReply($message)
            : new ConnectionLost($message);
    }
}
