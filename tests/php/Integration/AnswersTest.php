<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Client;
use Resident\ErrorCode;
use Resident\Exception\OperatorError;
use Resident\Tests\Support\Server;

/**
 * A real worker answers.
 */
final class AnswersTest extends TestCase
{
    private Server $server;
    private Client $client;

    protected function setUp(): void
    {
        $this->server = Server::served();
        $this->client = new Client($this->server->url);
    }

    /**
     * @dataProvider questions
     */
    public function testTheAnswerIsWhatTheTaskReturned(mixed $question): void
    {
        self::assertSame($question, $this->client->ask('echo', $question)->answer);
    }

    public static function questions(): iterable
    {
        yield 'English' => ['When do you open?'];
        yield 'Chinese' => ['今天几点开门？'];
        yield 'emoji' => ['👍🏽 👨‍👩‍👧'];
        yield 'nothing' => [''];
        yield 'quotes, slashes, controls' => ["\"a\" \\ / \0 \n \u{2028}"];
        yield '64 kB' => [str_repeat('开', 21_845)];
        yield 'a list' => [[1, 1.0, null, true, ['a']]];
        yield 'an object' => [['text' => '你好', 'options' => ['top' => 3, 'min' => 0.5]]];
        yield 'null' => [null];
        yield 'the largest integer' => [PHP_INT_MAX];
    }

    public function testTheAnswerSaysWhereItsTimeWent(): void
    {
        $answer = $this->client->ask('echo', 'x');
        self::assertSame('x', (string) $answer);
        self::assertMatchesRegularExpression('/\A[0-9a-f]{32}\z/', $answer->id);
        self::assertGreaterThanOrEqual(0.0, $answer->queuedMs);
        self::assertGreaterThanOrEqual(0.0, $answer->modelMs);
        self::assertSame(1, $answer->batch);
    }

    public function testTheReplyIsReadAwayAndTheJobIsLeftToRq(): void
    {
        $answer = $this->client->ask('echo', 'x');
        self::assertSame(0, $this->server->redis->exists("resident:reply:$answer->id"));
        self::assertSame('finished', $this->server->redis->hGet("rq:job:$answer->id", 'status'));
    }

    public function testOneConnectionServesAllQuestionsOfAClient(): void
    {
        $made = 0;
        $client = new Client(function () use (&$made): \Redis {
            $made++;
            return $this->server->connect();
        });
        foreach (['first', 'second', 'third'] as $question) {
            $client->ask('echo', $question);
        }
        self::assertSame(1, $made);
    }

    public function testAnIdAskedTwiceIsRunOnceAndAnsweredTwice(): void
    {
        $id = 'order-' . bin2hex(random_bytes(8));
        $first = $this->client->ask('echo', 'the first text', null, $id);
        $second = (new Client($this->server->url))->ask('echo', 'the first text', null, $id);
        self::assertEquals($first, $second);
        self::assertSame('the first text', $second->answer);
        self::assertSame(1, $this->server->redis->xLen("rq:results:$id"));
    }

    public function testAConnectionOfTheCallersWorksToo(): void
    {
        $client = new Client($this->server->connect());
        self::assertSame('你好', $client->ask('echo', '你好')->answer);
        self::assertSame('又', $client->ask('echo', '又')->answer);
    }

    public function testATaskThatNobodyServesIsAnsweredAtOnceWithTheTasksThatAre(): void
    {
        $startNs = hrtime(true);
        try {
            $this->client->ask('fqa', 'x', 30_000);
            self::fail('It was answered');
        } catch (OperatorError $error) {
            self::assertSame(ErrorCode::NoWorker, $error->code());
            self::assertSame(
                "No worker is ready for the task 'fqa'. Tasks served now: echo.",
                $error->getMessage()
            );
            self::assertLessThan(10e9, hrtime(true) - $startNs);
        }
    }

    public function testAScriptThatRedisForgotIsSentAgain(): void
    {
        $this->client->ask('echo', 'x');
        $this->server->redis->script('flush');
        self::assertSame('y', $this->client->ask('echo', 'y')->answer);
    }
}
