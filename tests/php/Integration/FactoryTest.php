<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Client;
use Resident\Exception\ConfigurationError;
use Resident\Exception\TransportError;
use Resident\Redis\Dsn;
use Resident\Tests\Support\Memory;
use Resident\Tests\Support\Program;
use Resident\Tests\Support\Server;

/**
 * Connections from a function of the caller's, and a logger that is told when one is lost.
 */
final class FactoryTest extends TestCase
{
    public function testAFactoryIsCalledOnceAndAgainWhenItsConnectionIsLost(): void
    {
        $server = Server::served();
        $made = [];
        $logger = Memory::logger();
        $factory = static function () use ($server, &$made): \Redis {
            return $made[] = $server->connect();
        };
        $client = new Client($factory, logger: $logger);
        self::assertSame([], $made, 'it connects at the first question');
        $client->ask('echo', 'a');
        $client->ask('echo', 'b');
        self::assertCount(1, $made);
        $server->redis->rawCommand('CLIENT', 'KILL', 'ID', (string) $made[0]->client('id'));
        self::assertSame('c', $client->ask('echo', 'c')->answer);
        self::assertCount(2, $made);
        self::assertSame(['warning'], array_column($logger->records, 0));
        self::assertStringNotContainsString('"c"', json_encode($logger->records));
    }

    public function testALoggerThatThrowsKeepsNobodyFromANewConnection(): void
    {
        $server = Server::served();
        $client = new Client($server->url, logger: Memory::logger(new \LogicException('The disk is full')));
        $client->ask('echo', 'a');
        $server->redis->rawCommand('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
        try {
            $client->ask('echo', 'b');
            self::fail('Nobody was told');
        } catch (\LogicException) {
            self::assertSame('c', $client->ask('echo', 'c')->answer);
        }
    }

    public function testAChildThatIsForkedTakesAConnectionOfItsOwn(): void
    {
        $code = 'require "php_client/autoload.php"; $made = 0;'
            . '$factory = static function () use (&$made): Redis {'
            . '$made++; $redis = new Redis(); $dsn = Resident\Redis\Dsn::parse($GLOBALS["argv"][1]);'
            . '$redis->connect($dsn->host, $dsn->port); $redis->auth($dsn->password()); return $redis; };'
            . '$client = new Resident\Client($factory); $client->ask("echo", "before");'
            . '$who = pcntl_fork() === 0 ? "child" : "parent"; pcntl_wait($status);'
            . 'echo $client->ask("echo", $who), " $made\n";';
        $program = new Program(['-r', $code, '--', Server::served()->url]);
        self::assertSame([0, "child 2\nparent 1\n", ''], $program->result());
    }

    public function testAChildThatIsForkedOpensAConnectionOfItsOwnToADsn(): void
    {
        $code = 'require "php_client/autoload.php"; $client = new Resident\Client($argv[1]);'
            . 'var_export($client->cancel("before"));'
            . 'if (pcntl_fork() !== 0) pcntl_wait($status); var_export($client->cancel("behind"));';
        $server = Server::spare();
        $made = static fn (): int => (int) $server->redis->info('stats')['total_connections_received'];
        $before = $made();
        $program = new Program(['-r', $code, '--', $server->url]);
        self::assertSame(0, $program->result()[0]);
        self::assertSame($before + 2, $made());
    }

    public function testAConnectionThatBroughtWhatIsNoReplyIsNotUsedAgain(): void
    {
        $server = Server::spare();
        $server->announce('faq');
        $server->redis->rPush('resident:reply:x', 'junk');
        $made = 0;
        $client = new Client(static function () use ($server, &$made): \Redis {
            $made++;
            return $server->connect();
        });
        foreach ([1, 2] as $expected) {
            try {
                $client->ask('faq', 'a', 1_000, 'x');
                self::fail('It was no reply');
            } catch (TransportError) {
                self::assertSame($expected, $made);
            }
        }
    }

    public function testAFactoryThatFailsIsATransportError(): void
    {
        $logger = Memory::logger();
        $client = new Client(static fn () => throw new \RedisException('no more sockets'), logger: $logger);
        try {
            $client->ask('echo', 'a', 200);
            self::fail('It was answered');
        } catch (TransportError $error) {
            self::assertStringContainsString('no more sockets', $error->getMessage());
        }
        self::assertSame('error', end($logger->records)[0]);
    }

    public function testAFactoryThatWarnsIsATransportErrorWhereWarningsAreExceptions(): void
    {
        $listener = stream_socket_server('tcp://127.0.0.1:0'); // says nothing, least of all TLS
        [$host, $port] = explode(':', (string) stream_socket_get_name($listener, false));
        $factory = static function () use ($host, $port): \Redis {
            $redis = new \Redis();
            $redis->connect("tls://$host", (int) $port, 0.05);
            return $redis;
        };
        $this->expectException(TransportError::class);
        $this->expectExceptionMessage('SSL: Handshake timed out');
        (new Client($factory))->ask('echo', 'a', 200); // PHPUnit makes exceptions of warnings
    }

    public function testAFactoryWhosePasswordIsWrongSaysThatItIsRefused(): void
    {
        $dsn = Dsn::parse(Server::served()->url);
        $made = 0;
        $factory = static function () use ($dsn, &$made): \Redis {
            $made++;
            $redis = new \Redis();
            $redis->connect($dsn->host, $dsn->port);
            $redis->auth('wrong');
            return $redis;
        };
        try {
            (new Client($factory))->ask('echo', 'a', 2_000);
            self::fail('It was answered');
        } catch (TransportError $error) {
            self::assertStringContainsString(
                'the place that the factory connects to refuses the user or the password (WRONGPASS',
                $error->getMessage()
            );
        }
        self::assertSame(1, $made, 'another try would not help');
    }

    public function testAFactoryOfSomethingElseIsAConfigurationError(): void
    {
        $this->expectException(ConfigurationError::class);
        $this->expectExceptionMessage('The factory returned string');
        (new Client(static fn () => 'redis://'))->ask('echo', 'a');
    }

    public function testWhatAFactoryMakesIsCheckedLikeALentConnection(): void
    {
        $redis = Server::served()->connect();
        $redis->setOption(\Redis::OPT_SERIALIZER, \Redis::SERIALIZER_PHP);
        $this->expectException(ConfigurationError::class);
        $this->expectExceptionMessage('OPT_SERIALIZER');
        (new Client(static fn () => $redis))->ask('echo', 'a');
    }

    /**
     * @dataProvider checksOfTheExtension
     */
    public function testAPersistentConnectionWithUnreadAnswersIsReplaced(string $isChecked): void
    {
        $server = Server::served();
        $server->reply('of-another', 'of another');
        $factory = static fn (): \Redis => $server->connectPersistently();
        $before = ini_set('redis.pconnect.echo_check_liveness', $isChecked);
        try {
            $left = $this->leaveAnswersUnread($factory());
            self::assertSame('mine', (new Client($factory))->ask('echo', 'mine', 2_000)->answer);
            self::assertNotSame($left, $factory()->client('id'));
        } finally {
            ini_set('redis.pconnect.echo_check_liveness', (string) $before);
            $server->redis->del('resident:reply:of-another');
        }
    }

    public static function checksOfTheExtension(): iterable
    {
        yield 'ext-redis looks as well' => ['1'];
        yield 'nobody else looks' => ['0'];
    }

    /**
     * As a request does that PHP ends while it waits; the connection goes back to PHP's pool.
     */
    private function leaveAnswersUnread(\Redis $redis): int
    {
        $id = $redis->client('id');
        $redis->rawCommand('SUBSCRIBE', 'one', 'two'); // two answers, and one of them is read
        $redis->rawCommand('UNSUBSCRIBE', 'one', 'two');
        $redis->rawCommand('SELECT', '0'); // the next request takes its OK for its password's
        $redis->rawCommand('LINDEX', 'resident:reply:of-another', '0');
        return $id;
    }
}
