<?php

declare(strict_types=1);

namespace Resident\Redis;

use Resident\Deadline;

/**
 * One connection that sends raw commands, and tells an error of Redis from a lost connection.
 *
 * Raw, because ext-redis 5 has no fractional timeouts, and 5 and 6 differ in the rest.
 *
 * @internal
 */
final class Link
{
    private bool $isInterrupted = false;

    public function __construct(private readonly \Redis $redis)
    {
    }

    /**
     * Sends a command that does not block and returns its answer.
     *
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    public function call(Deadline $deadline, #[\SensitiveParameter] string ...$command): mixed
    {
        return $this->send($deadline->patienceMs(), $command);
    }

    /**
     * Sends a command that blocks until the deadline, or a little less.
     *
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    public function callBlocking(Deadline $deadline, string ...$command): mixed
    {
        return $this->send($deadline->blockPatienceMs(), array_values($command));
    }

    /**
     * @param array<string> $command
     */
    private function send(int $timeoutMs, #[\SensitiveParameter] array $command): mixed
    {
        $answer = $this->guarded($timeoutMs, fn (): mixed => $this->redis->rawCommand(...$command));
        // For some errors ext-redis throws, for the others it returns false.
        $error = $this->redis->getLastError();
        return $error === null ? $answer : throw new ErrorReply($error);
    }

    /**
     * @param \Closure(): mixed $work
     */
    private function guarded(int $timeoutMs, #[\SensitiveParameter] \Closure $work): mixed
    {
        try {
            // In every call: a timeout below the time of a block would cut it off.
            $this->redis->setOption(\Redis::OPT_READ_TIMEOUT, $timeoutMs / 1000);
            $this->redis->clearLastError();
            $this->isInterrupted = true;
            $answer = Quietly::run($work);
            $this->isInterrupted = false;
            return $answer;
        } catch (\RedisException $error) {
            throw $this->meaningOf($error);
        }
    }

    /**
     * Whether something else than Redis ended a call, a signal handler say: its answer is unread.
     */
    public function isInterrupted(): bool
    {
        return $this->isInterrupted;
    }

    private function meaningOf(#[\SensitiveParameter] \RedisException $error): ErrorReply|ConnectionLost
    {
        $this->isInterrupted = false;
        try {
            $isAnswer = $this->redis->getLastError() === $error->getMessage();
        } catch (\RedisException) {
            $isAnswer = false;
        }
        $message = $error->getMessage();
        return $isAnswer ? new ErrorReply($message) : new ConnectionLost($message);
    }
}
