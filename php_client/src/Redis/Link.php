<?php

declare(strict_types=1);

namespace Resident\Redis;

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
    public function call(int $timeoutMs, #[\SensitiveParameter] string ...$command): mixed
    {
        try {
            // In every call: a timeout below the time of a block would cut it off.
            $this->redis->setOption(\Redis::OPT_READ_TIMEOUT, $timeoutMs / 1000);
            $this->redis->clearLastError();
            $this->isInterrupted = true;
            $answer = Quietly::run(fn (): mixed => $this->redis->rawCommand(...$command));
            $this->isInterrupted = false;
        } catch (\RedisException $error) {
            throw $this->meaningOf($error);
        }
        // For some errors ext-redis throws, for the others it returns false.
        $error = $this->redis->getLastError();
        return $error === null ? $answer : throw new ErrorReply($error);
    }

    /**
     * Sends a command that blocks for at most $timeoutMs; its last argument is added here.
     *
     * @param int $marginMs How much longer than that we wait for its answer.
     * @return list<mixed>|string|null null if nothing came
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    public function callBlocking(int $timeoutMs, int $marginMs, string ...$command): array|string|null
    {
        $seconds = sprintf('%d.%03d', intdiv($timeoutMs, 1000), $timeoutMs % 1000);
        $answer = $this->call($timeoutMs + $marginMs, ...[...$command, $seconds]);
        // ext-redis says false, null or an empty list for nothing, after its version and options.
        return is_string($answer) || (is_array($answer) && $answer !== []) ? $answer : null;
    }

    /**
     * Whether something else than Redis ended a call, a signal handler say: its answer is unread.
     */
    public function isInterrupted(): bool
    {
        return $this->isInterrupted;
    }

    private function meaningOf(\RedisException $error): ErrorReply|ConnectionLost
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
