<?php

declare(strict_types=1);

namespace Resident\Redis;

use Resident\Deadline;
use Resident\Exception\ConfigurationError;

/**
 * A connection of the caller's: checked, used, and given back as it was.
 *
 * @internal
 */
final class LentSource implements Source
{
    /**
     * What ext-redis would do to our keys and values => what to call it.
     */
    private const IN_THE_WAY = [
        \Redis::OPT_PREFIX => 'OPT_PREFIX',
        \Redis::OPT_SERIALIZER => 'OPT_SERIALIZER',
        \Redis::OPT_COMPRESSION => 'OPT_COMPRESSION',
    ];

    private const UNKNOWN = 'the place that the Redis object connects to';
    /**
     * Nobody can ever connect to it.
     */
    private const NOWHERE = '/dev/null/nowhere';

    private ?Link $link = null;
    private bool $isChecked = false;
    private float $readTimeout = 0.0;
    private int $maxRetries = 0;
    /**
     * The one that the object had selected at the first question.
     */
    private ?int $database = null;
    private string $place = self::UNKNOWN;
    private ?Deadline $deadline = null;

    public function __construct(private readonly \Redis $redis)
    {
    }

    public function link(Deadline $deadline): Link
    {
        if ($this->link !== null) {
            return $this->link;
        }
        try {
            $this->check();
            $this->readTimeout = (float) $this->redis->getOption(\Redis::OPT_READ_TIMEOUT);
            $this->maxRetries = (int) $this->redis->getOption(\Redis::OPT_MAX_RETRIES);
            $this->redis->setOption(\Redis::OPT_MAX_RETRIES, 0);
            $this->link = new Link($this->redis);
            $this->deadline = $deadline;
            if (!$this->comeInStep($this->link, $deadline)) {
                $this->select($this->link, $deadline);
            }
        } catch (\RedisException) {
            throw new ConnectionLost('the Redis object is not connected');
        }
        return $this->link;
    }

    public function drop(): void
    {
        $this->isChecked = false;
        try {
            // ext-redis 6 connects for each of these, where it is not connected.
            $database = $this->database ?? 0;
            if ($this->redis->isConnected()) {
                $database = (int) $this->redis->getDbNum();
                $this->redis->close();
            }
            if ($database !== 0) {
                // Else ext-redis would open it again at its owner's next command, in database 0.
                Quietly::run(fn (): bool => $this->redis->connect(self::NOWHERE));
            }
        } catch (\RedisException) {
            // It is gone already.
        }
    }

    public function release(): void
    {
        if ($this->link === null) {
            return;
        }
        if ($this->link->isInterrupted()) {
            $this->drop();
        }
        $this->selectBack($this->link);
        $this->link = null;
        // ext-redis means PHP's default by 0 when it connects, but "at once" when it is set.
        $readTimeout = $this->readTimeout ?: (float) ini_get('default_socket_timeout');
        try {
            $this->redis->setOption(\Redis::OPT_READ_TIMEOUT, $readTimeout);
            $this->redis->setOption(\Redis::OPT_MAX_RETRIES, $this->maxRetries);
        } catch (\RedisException) {
            // It was closed; a new connection starts with defaults.
        }
    }

    public function canReopen(): bool
    {
        return false;
    }

    public function place(): string
    {
        try {
            if ($this->redis->isConnected()) {
                $port = $this->redis->getPort();
                $host = (string) $this->redis->getHost();
                // ext-redis 5 has an empty name for a connection that is not there any longer.
                $this->place = $host === '' ? $this->place : $host . ($port > 0 ? ":$port" : '');
            }
        } catch (\RedisException) {
            // As far as it was known.
        }
        return $this->place;
    }

    private function check(): void
    {
        if ($this->redis->getMode() !== \Redis::ATOMIC) {
            throw new ConfigurationError(
                'The Redis object is in the middle of a MULTI or a pipeline; call exec() first, or give the '
                . 'client a connection of its own'
            );
        }
        foreach (self::IN_THE_WAY as $option => $name) {
            // No prefix is null or '', no serializer and no compression are 0.
            if (!in_array($this->redis->getOption($option), [null, '', 0], true)) {
                throw new ConfigurationError(
                    "The Redis object has $name set, which would change what Resident's workers "
                    . 'read; give the client a connection without it, or a DSN'
                );
            }
        }
    }

    /**
     * What pconnect brings along from an earlier request: an answer that it did not read, if PHP
     * ended it in the middle of a wait, and the database that it selected. Whether there was need for it.
     */
    private function comeInStep(Link $link, Deadline $deadline): bool
    {
        if ($this->isChecked) {
            return false;
        }
        $isConnected = $this->redis->isConnected();
        try {
            $isInStep = $this->isInStep($link, $deadline);
        } catch (ConnectionLost $loss) {
            throw $isConnected ? $loss : new ConnectionLost(
                "the Redis object is not connected, or is refused there: {$loss->getMessage()}"
            );
        }
        if (!$isInStep) {
            throw new ConnectionLost('the connection has answers of an earlier request in it');
        }
        $this->database ??= $this->redis->getDbNum();
        $link->call($deadline, 'SELECT', (string) $this->database);
        $this->isChecked = true;
        $this->place(); // ext-redis 6 knows it no longer when the connection is lost
        return true;
    }

    /**
     * An error may be of an earlier request, too: what Redis says of a second command as well is of now.
     *
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    private function isInStep(Link $link, Deadline $deadline): bool
    {
        try {
            return self::isEchoed($link, $deadline);
        } catch (ErrorReply $first) {
            try {
                return self::isEchoed($link, $deadline);
            } catch (ErrorReply $second) {
                return $second->getMessage() === $first->getMessage() ? throw $first : false;
            } catch (ConnectionLost) {
                $this->drop(); // Redis closes where it has no room for a client
                throw $first;
            }
        }
    }

    private static function isEchoed(Link $link, Deadline $deadline): bool
    {
        $nonce = bin2hex(random_bytes(8));
        return $link->call($deadline, 'ECHO', $nonce) === $nonce;
    }

    /**
     * The object does not notice, and it need not: selectBack() follows. Of another database than 0 it may not
     * know: ext-redis 5 opens a lost connection by itself in database 0, and goes on saying the other.
     */
    private function select(Link $link, Deadline $deadline): void
    {
        if ($this->database !== 0 || $this->redis->getDbNum() !== 0) {
            $link->call($deadline, 'SELECT', (string) $this->database);
        }
    }

    private function selectBack(Link $link): void
    {
        try {
            if ($this->isChecked && $this->deadline !== null && $this->redis->getDbNum() !== $this->database) {
                $link->call($this->deadline, 'SELECT', (string) $this->redis->getDbNum());
            }
        } catch (\RedisException | ConnectionLost | ErrorReply) {
            $this->drop();
        }
    }
}
