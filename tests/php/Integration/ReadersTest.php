<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Client;
use Resident\Exception\ConfigurationError;
use Resident\Tests\Support\Server;

/**
 * What a reader says of itself in Redis, and when it leaves.
 */
final class ReadersTest extends TestCase
{
    private const BUDGET_MS = 20_000;

    private Server $server;
    private Client $client;

    protected function setUp(): void
    {
        $this->server = Server::told();
        $this->client = new Client($this->server->url);
    }

    public function testWhoIsInTheMiddleOfATransactionLeavesBehindIt(): void
    {
        $redis = $this->server->connect();
        $stream = (new Client($redis))->stream('tell', ['one'], self::BUDGET_MS);
        $key = "resident:reading:$stream->id";
        $redis->multi();
        try {
            iterator_to_array($stream);
            self::fail('It was read in the middle of a transaction');
        } catch (ConfigurationError) {
            $redis->discard();
        }
        self::assertSame(1, $this->server->redis->exists($key));
        unset($stream);
        self::assertSame(0, $this->server->redis->exists($key));
    }

    public function testAStreamIsLeftAsSoonAsItsAnswerIsThere(): void
    {
        $stream = $this->client->stream('tell', ['a', 'b'], self::BUDGET_MS);
        $stream->answer();
        self::assertSame(0, $this->server->redis->exists("resident:reading:$stream->id"));
    }

    public function testWhoLeavesARedisThatRefusesThemIsNotTold(): void
    {
        $spare = Server::spare();
        $spare->announce('tell');
        $spare->redis->rawCommand('ACL', 'SETUSER', 'reader', 'on', '>pw', '~*', '&*', '+@all');
        $stream = (new Client($spare->urlAs('reader:pw')))->stream('tell', ['a'], self::BUDGET_MS);
        $spare->redis->rawCommand('ACL', 'DELUSER', 'reader');
        $stream->leave();
        self::assertSame(1, $spare->redis->exists("resident:reading:$stream->id"), 'it expires');
    }

    public function testWhoLeavesInATransactionOfTheirOwnIsNotTold(): void
    {
        $redis = $this->server->connect();
        $stream = (new Client($redis))->stream('tell', ['a', 'b'], self::BUDGET_MS);
        $redis->multi();
        $stream->leave();
        $redis->discard();
        self::assertSame(1, $this->server->redis->exists("resident:reading:$stream->id"), 'it expires');
    }

    public function testAReaderWaitsNoLongerThanUntilItMustSayAgainThatItReads(): void
    {
        $spare = Server::spare();
        $spare->announce('tell');
        $stream = (new Client($spare->url))->stream('tell', [], self::BUDGET_MS);
        $spare->part($stream->id, 0, 'a');
        $spare->redis->rawCommand('SLOWLOG', 'RESET');
        $spare->redis->config('SET', 'slowlog-log-slower-than', '0');
        $stream->getIterator()->current();
        $spare->redis->config('SET', 'slowlog-log-slower-than', '10000');
        $waits = array_filter($spare->redis->slowLog('get', 128), static fn (array $one): bool
            => $one[3][0] === 'BLPOP' && $one[3][1] === "resident:reply:$stream->id");
        self::assertSame(['5.000'], array_values(array_map(static fn (array $one): string => $one[3][2], $waits)));
    }
}
