<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Client;
use Resident\ErrorCode;
use Resident\Exception\CallerError;
use Resident\Exception\ConfigurationError;
use Resident\Exception\OperatorError;
use Resident\Exception\TransportError;
use Resident\Exception\TryAgain;
use Resident\Options;
use Resident\Tests\Support\Server;
use Resident\Wire\Reply;

/**
 * A \Redis object of the caller's is checked, used, and given back as it was.
 */
final class LentConnectionTest extends TestCase
{
    private Server $server;
    private \Redis $redis;

    protected function setUp(): void
    {
        $this->server = Server::spare();
        $this->server->announce('faq');
        $this->redis = $this->server->connect();
    }

    /**
     * @dataProvider optionsInTheWay
     */
    public function testAnOptionThatChangesKeysOrValuesIsRefused(string $name, int|string $value): void
    {
        $this->redis->setOption(constant("Redis::$name"), $value);
        try {
            (new Client($this->redis))->ask('faq', 'x', 50);
            self::fail('It was used');
        } catch (ConfigurationError $error) {
            self::assertStringContainsString($name, $error->getMessage());
        }
        self::assertSame(0, $this->server->redis->exists('rq:queue:faq'));
        self::assertSame($value, $this->redis->getOption(constant("Redis::$name")));
    }

    public static function optionsInTheWay(): iterable
    {
        yield ['OPT_PREFIX', 'app:'];
        yield ['OPT_SERIALIZER', \Redis::SERIALIZER_PHP];
        yield ['OPT_SERIALIZER', \Redis::SERIALIZER_JSON];
        if (defined('Redis::COMPRESSION_LZF')) {
            yield ['OPT_COMPRESSION', \Redis::COMPRESSION_LZF];
        }
    }

    public function testATransactionThatIsOpenIsRefused(): void
    {
        $this->redis->multi();
        $this->expectException(ConfigurationError::class);
        $this->expectExceptionMessage('call exec() first');
        (new Client($this->redis))->ask('faq', 'x', 50);
    }

    /**
     * ext-redis does not know of it, so that each command is answered with QUEUED.
     *
     * @dataProvider calls
     * @param \Closure(Client): mixed $call
     */
    public function testATransactionThatExtRedisDoesNotKnowOfIsNobodysReply(\Closure $call): void
    {
        $client = new Client($this->redis);
        $client->cancel('own-id');
        $this->redis->rawCommand('MULTI');
        $this->expectException(TransportError::class);
        $this->expectExceptionMessage('What came back is no reply: the answer ');
        $call($client);
    }

    /**
     * @return iterable<array{\Closure(Client): mixed}>
     */
    public static function calls(): iterable
    {
        yield 'ask' => [static fn (Client $client) => $client->ask('faq', 'x', 500)];
        yield 'askMany' => [static fn (Client $client) => throw $client->askMany('faq', ['x'], 500)[0]];
        yield 'wait' => [static fn (Client $client) => $client->wait('own-id', 500)];
        yield 'a short wait' => [static fn (Client $client) => $client->wait('own-id', 20)];
        yield 'cancel' => [static fn (Client $client) => $client->cancel('own-id')];
    }

    /**
     * @dataProvider readTimeouts
     */
    public function testTimeoutAndRetriesAreRestored(float $readTimeout, float $expected): void
    {
        $this->redis->setOption(\Redis::OPT_READ_TIMEOUT, $readTimeout);
        $this->redis->setOption(\Redis::OPT_MAX_RETRIES, 7);
        $this->expire(new Client($this->redis));
        $this->server->reply('own-id', 'x');
        (new Client($this->redis))->ask('faq', 'x', 50, 'own-id');
        self::assertSame($expected, $this->redis->getOption(\Redis::OPT_READ_TIMEOUT));
        self::assertSame(7, $this->redis->getOption(\Redis::OPT_MAX_RETRIES));
    }

    public static function readTimeouts(): iterable
    {
        yield 'shorter than the block' => [0.02, 0.02];
        yield 'longer' => [33.0, 33.0];
    }

    public function testAnUntouchedConnectionCanStillBeUsedAfterwards(): void
    {
        $this->expire(new Client($this->redis));
        // It would fail at once if OPT_READ_TIMEOUT were set to the 0 that it showed before.
        $popped = $this->redis->rawCommand('BLPOP', 'nothing-here', '0.05');
        self::assertSame([], $popped ?: []);
        self::assertTrue((bool) $this->redis->ping());
    }

    public function testTheDatabaseIsTheOneThatTheObjectSelected(): void
    {
        $this->redis->select(3);
        // As a request before us may leave a persistent connection: the object knows nothing of it.
        $this->redis->rawCommand('SELECT', '5');
        $this->server->redis->select(3);
        $this->server->announce('faq');
        $this->server->reply('own-id', 'from database 3');
        $answer = (new Client($this->redis))->ask('faq', 'x', 50, 'own-id');
        $this->server->redis->select(0);
        self::assertSame('from database 3', $answer->answer);
    }

    public function testAnotherDatabaseThatTheObjectSelectsMeanwhileIsLeftAloneAndGivenBack(): void
    {
        $client = new Client($this->redis);
        $this->expire($client);
        $this->redis->select(4);
        $this->redis->set('of-the-caller', 'here');
        $this->server->reply('own-id', 'from database 0');
        self::assertSame('from database 0', $client->ask('faq', 'x', 50, 'own-id')->answer);
        self::assertSame(['here', 4], [$this->redis->get('of-the-caller'), $this->redis->getDbNum()]);
        $this->expire($client);
        self::assertSame('here', $this->redis->get('of-the-caller'));
        $this->server->redis->select(4);
        $there = $this->server->redis->keys('*');
        $this->server->redis->select(0);
        self::assertSame(['of-the-caller'], $there);
    }

    public function testAPersistentConnectionIsUsedAndGivenBack(): void
    {
        $dsn = \Resident\Redis\Dsn::parse($this->server->url);
        $redis = new \Redis();
        $redis->pconnect($dsn->host, $dsn->port, 0, 'resident-tests');
        $redis->auth($dsn->password());
        $this->server->reply('own-id', 'x');
        self::assertSame('x', (new Client($redis))->ask('faq', 'x', 50, 'own-id')->answer);
        self::assertTrue((bool) $redis->ping());
        $redis->close();
    }

    /**
     * @dataProvider whatEarlierRequestsLeave
     */
    public function testAnAnswerThatAnEarlierRequestLeftIsNobodysReply(string $variable): void
    {
        $dsn = \Resident\Redis\Dsn::parse(getenv($variable));
        $redis = new \Redis();
        $redis->connect($dsn->host, $dsn->port);
        $this->expectException(TransportError::class);
        $this->expectExceptionMessage('answers of an earlier request');
        (new Client($redis))->ask('faq', 'x', 500);
    }

    /**
     * @return iterable<array{string}>
     */
    public static function whatEarlierRequestsLeave(): iterable
    {
        yield 'an answer' => ['RESIDENT_OLD_ANSWER_URL'];
        yield 'an error' => ['RESIDENT_OLD_ERROR_URL'];
    }

    public function testWhatRedisSaysOfAnyCommandIsToldAndTheObjectStaysOpen(): void
    {
        $this->redis->select(3);
        $threshold = $this->server->redis->config('GET', 'lua-time-limit');
        $this->server->redis->config('SET', 'lua-time-limit', '10');
        $this->server->halt();
        try {
            (new Client($this->redis))->ask('faq', 'x', 500);
            self::fail('A Redis that runs a script answered');
        } catch (TransportError $error) {
            self::assertStringContainsString('refused a command (BUSY', $error->getMessage());
        } finally {
            $this->server->goOn();
            $this->server->redis->config('SET', 'lua-time-limit', $threshold['lua-time-limit']);
        }
        $this->redis->set('own-key', 'of database 3');
        $this->server->redis->select(3);
        $found = $this->server->redis->get('own-key');
        $this->server->redis->select(0);
        self::assertSame('of database 3', $found);
    }

    public function testAnObjectThatWasClosedDoesNotWriteToAnotherDatabase(): void
    {
        $this->redis->select(3);
        $other = $this->server->connect();
        $client = new Client($this->redis);
        $client->cancel('own-id');
        $other->rawCommand('CLIENT', 'PAUSE', '300', 'ALL');
        try {
            $client->wait('own-id', 20);
            self::fail('A Redis that halts answered');
        } catch (TransportError) {
            // As it is meant to.
        }
        try {
            $this->redis->set('own-key', 'x');
            self::fail('It is open');
        } catch (\RedisException) {
            self::assertFalse($other->get('own-key'));
        }
    }

    public function testAnObjectThatItsOwnerClosedIsUsedInTheDatabaseOfBefore(): void
    {
        $this->redis->select(3);
        $client = new Client($this->redis);
        $client->cancel('own-id');
        $other = $this->server->connect();
        $other->select(3);
        $other->rPush('resident:reply:own-id', Reply::encodeError('own-id', ErrorCode::Conflict, 'of database 3'));
        $this->redis->close(); // ext-redis 5 opens it again by itself, in database 0
        try {
            $client->wait('own-id', 500);
            self::fail('An error was an answer');
        } catch (CallerError $error) {
            self::assertSame('of database 3', $error->getMessage());
        }
    }

    public function testAnObjectThatIsNotConnectedIsATransportError(): void
    {
        $this->expectException(TransportError::class);
        $this->expectExceptionMessage(
            'Redis at the place that the Redis object connects to cannot be reached (the Redis object is not connected'
        );
        (new Client(new \Redis()))->ask('faq', 'x', 50);
    }

    /**
     * ext-redis 6 connects for each of these, and waits its time-out each time.
     */
    public function testAnObjectThatIsNotConnectedIsNotAskedForWhatWouldConnectIt(): void
    {
        $redis = new class extends \Redis {
            public int $asked = 0;

            public function getHost(): string
            {
                $this->asked++;
                return '';
            }

            public function getPort(): int
            {
                $this->asked++;
                return 0;
            }

            public function getDbNum(): int
            {
                $this->asked++;
                return 0;
            }

            public function close(): bool
            {
                $this->asked++;
                return true;
            }
        };
        try {
            (new Client($redis))->ask('faq', 'x', 50);
            self::fail('It is connected');
        } catch (TransportError $error) {
            self::assertStringContainsString('is not connected', $error->getMessage());
        }
        self::assertSame(0, $redis->asked);
    }

    public function testAConnectionThatWasKilledIsNamedWithWhatIsKnownOfIt(): void
    {
        $this->server->redis->rawCommand('CLIENT', 'KILL', 'ID', (string) $this->redis->client('id'));
        $this->expectException(TransportError::class);
        $this->expectExceptionMessageMatches('/\ARedis at (the place that|127)/');
        (new Client($this->redis))->ask('faq', 'x', 50);
    }

    public function testAConnectionThatIsLostLaterIsNamedWithItsPlace(): void
    {
        $client = new Client($this->redis);
        $this->expire($client);
        $place = (string) $this->redis->getHost();
        $this->server->redis->rawCommand('CLIENT', 'KILL', 'ID', (string) $this->redis->client('id'));
        $this->expectException(TransportError::class);
        $this->expectExceptionMessage("Redis at $place");
        $client->ask('faq', 'x', 50);
    }

    public function testRqsKeyPrefixIsHonoured(): void
    {
        $this->server->announce('faq', own: 'mine:resident');
        $options = new Options(keyPrefix: 'mine');
        $id = $this->expire(new Client($this->redis, $options))->id();
        self::assertSame([$id], $this->server->redis->lRange('mine:queue:faq', 0, -1));
        self::assertSame(0, $this->server->redis->exists('rq:queue:faq'));
    }

    public function testWorkersUnderAnotherPrefixDoNotCount(): void
    {
        $this->expectException(OperatorError::class);
        $this->expectExceptionMessage('Tasks served now: none.');
        (new Client($this->redis, new Options(keyPrefix: 'mine')))->ask('faq', 'x', 60);
    }

    private function expire(Client $client): TryAgain
    {
        try {
            $client->ask('faq', 'x', 60);
        } catch (TryAgain $error) {
            self::assertSame(TryAgain::class, $error::class, $error->getMessage());
            return $error;
        }
        self::fail('It was answered');
    }
}
