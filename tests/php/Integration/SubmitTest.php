<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Client;
use Resident\ErrorCode;
use Resident\Exception\TransportError;
use Resident\Exception\TryAgain;
use Resident\Options;
use Resident\Tests\Support\Program;
use Resident\Tests\Support\Server;

/**
 * One request asks, the next fetches.
 */
final class SubmitTest extends TestCase
{
    /**
     * @testWith [null]
     *           ["order-17"]
     */
    public function testWhatOneProcessAsksAnotherFetches(?string $id): void
    {
        $server = Server::served();
        $server->redis->del('resident:reply:order-17', 'rq:job:order-17');
        $asked = (new Client($server->url))->submit('echo', '你好', 10_000, $id);
        self::assertSame($id ?? $asked, $asked);
        self::assertSame([0, '你好', ''], self::fetch($server->url, $asked)->result());
        self::assertSame([0, '你好', ''], self::fetch($server->url, $asked)->result(), 'a page that is reloaded');
    }

    public function testAnIdThatIsSubmittedTwiceRunsOnce(): void
    {
        $server = Server::served();
        $client = new Client($server->url);
        $id = 'twice-' . bin2hex(random_bytes(8));
        $client->submit('echo', 'first', 10_000, $id);
        $client->submit('echo', 'first', 10_000, $id);
        self::assertSame('first', $client->wait($id, 10_000)->answer);
        self::assertSame('first', $client->ask('echo', 'first', 10_000, $id)->answer);
        self::assertSame(1, $server->redis->xLen("rq:results:$id"));
    }

    public function testAWaitForWhatNobodyAnswersExpires(): void
    {
        $server = Server::spare();
        $server->announce('faq');
        $client = new Client($server->url);
        $id = $client->submit('faq', 'x', 10_000);
        try {
            $client->wait($id, 150);
            self::fail('It was answered');
        } catch (TryAgain $error) {
            self::assertSame([ErrorCode::Expired, $id], [$error->code(), $error->id()]);
        }
        $server->reply($id, 'at last');
        self::assertSame('at last', $client->wait($id, 150)->answer);
    }

    public function testWhatTheOperatorSaysOfRepliesAndFailuresIsKept(): void
    {
        $server = Server::spare();
        $server->announce('faq');
        $client = new Client($server->url, new Options(failureTtl: 17, replyTtlS: 2.5));
        $id = $client->submit('faq', 'x', 10_000);
        self::assertSame('17', $server->redis->hGet("rq:job:$id", 'failure_ttl'));
        self::assertTrue($client->cancel($id));
        foreach (["resident:reply:$id", "resident:cancelled:$id"] as $key) {
            self::assertEqualsWithDelta(1_250, $server->redis->pttl($key), 1_250);
        }
    }

    public function testTheIdOfAStreamIsNotOneToWaitFor(): void
    {
        $server = Server::spare();
        $server->part('a-stream', 0, 'Hel');
        $this->expectException(TransportError::class);
        $this->expectExceptionMessage('this id is that of a stream, which only its reader can read');
        (new Client($server->url))->wait('a-stream', 150);
    }

    private static function fetch(string $url, string $id): Program
    {
        $code = 'require "php_client/autoload.php"; echo (new Resident\Client($argv[1]))->wait($argv[2], 10000);';
        return new Program(['-r', $code, '--', $url, $id]);
    }
}
