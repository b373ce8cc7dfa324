<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Client;
use Resident\ErrorCode;
use Resident\Exception\CallerError;
use Resident\Exception\OperatorError;
use Resident\Exception\ResidentException;
use Resident\Exception\TransportError;
use Resident\Exception\TryAgain;
use Resident\Tests\Support\Server;

/**
 * No worker runs here: the test says what Redis holds.
 */
final class RefusalsTest extends TestCase
{
    private Server $server;

    protected function setUp(): void
    {
        $this->server = Server::spare();
    }

    public function testWithoutAnyWorkerNothingIsWritten(): void
    {
        $error = $this->errorOf(OperatorError::class, fn (Client $client) => $client->ask('faq', 'x'));
        self::assertSame(
            "No worker is ready for the task 'faq'. Tasks served now: none.",
            $error->getMessage()
        );
        self::assertSame([], $this->server->redis->keys('*'));
    }

    public function testAFullQueueIsRefusedWithBothNumbers(): void
    {
        $this->server->announce('faq', 2);
        $this->server->redis->rPush('rq:queue:faq', 'a', 'b');
        $error = $this->errorOf(TryAgain::class, fn (Client $client) => $client->ask('faq', 'x'));
        self::assertSame(ErrorCode::Overloaded, $error->code());
        self::assertSame("2 questions wait for 'faq' already; 2 are allowed", $error->getMessage());
    }

    public function testARefusalStaysWhatItIsWhenTheTasksCannotBeNamed(): void
    {
        $this->server->redis->set('resident:tasks', 'no set');
        $error = $this->errorOf(OperatorError::class, fn (Client $client) => $client->ask('faq', 'x'));
        self::assertSame("No worker is ready for the task 'faq'.", $error->getMessage());
    }

    public function testABudgetThatEndsIsAnErrorWithTheId(): void
    {
        $this->server->announce('faq');
        $startNs = hrtime(true);
        $error = $this->errorOf(TryAgain::class, fn (Client $client) => $client->ask('faq', 'x', 150));
        $tookMs = (hrtime(true) - $startNs) / 1e6;
        self::assertSame(ErrorCode::Expired, $error->code());
        self::assertSame('No answer within 150 ms', $error->getMessage());
        self::assertSame([$error->id()], $this->server->redis->lRange('rq:queue:faq', 0, -1));
        self::assertGreaterThan(145, $tookMs);
        self::assertLessThan(2_000, $tookMs);
    }

    public function testAReplyThatIsThereAlreadyIsReadAndLeftThere(): void
    {
        $this->server->announce('faq');
        $this->server->reply('own-id', 'answered before');
        $answer = $this->client()->ask('faq', 'x', 50, 'own-id');
        self::assertSame(['answered before', 'own-id', 1.5, 2.5, 3], array_values((array) $answer));
        self::assertSame(1, $this->server->redis->lLen('resident:reply:own-id'));
        self::assertSame(0, $this->server->redis->lLen('rq:queue:faq'));
    }

    /**
     * @dataProvider strangeReplies
     */
    public function testWhatIsNoReplyIsATransportError(string $payload): void
    {
        $this->server->announce('faq');
        $this->server->redis->rPush('resident:reply:own-id', $payload);
        $error = $this->errorOf(
            TransportError::class,
            fn (Client $client) => $client->ask('faq', 'x', 50, 'own-id')
        );
        self::assertStringContainsString('What came back is no reply', $error->getMessage());
    }

    public static function strangeReplies(): iterable
    {
        yield [''];
        yield ['OK'];
        yield ['{"v":1,"id":"another","ok":true,"answer":1,"ms":{"queued":1,"model":1}}'];
    }

    public function testAReplyKeyOfAnotherTypeIsATransportError(): void
    {
        $this->server->announce('faq');
        $this->server->redis->set('resident:reply:own-id', 'a string');
        $error = $this->errorOf(
            TransportError::class,
            fn (Client $client) => $client->ask('faq', 'x', 50, 'own-id')
        );
        self::assertStringContainsString('WRONGTYPE', $error->getMessage());
    }

    /**
     * @dataProvider wrongAsks
     */
    public function testAWrongAskIsRefusedBeforeAnythingIsSent(ErrorCode $code, mixed ...$arguments): void
    {
        $client = new Client('unix:///there/is/no/redis.sock');
        try {
            $client->ask(...$arguments);
            self::fail('It was sent');
        } catch (CallerError $error) {
            self::assertSame($code, $error->code());
        }
    }

    public static function wrongAsks(): iterable
    {
        yield [ErrorCode::UnknownTask, '../faq', 'x'];
        yield [ErrorCode::InvalidQuestion, 'faq', "\xff"];
        yield [ErrorCode::InvalidQuestion, 'faq', 'x', 0];
        yield [ErrorCode::InvalidQuestion, 'faq', 'x', null, 'no id'];
    }

    /**
     * @template T of ResidentException
     * @param class-string<T> $class
     * @param \Closure(Client): mixed $ask
     * @return T
     */
    private function errorOf(string $class, \Closure $ask): ResidentException
    {
        try {
            $ask($this->client());
        } catch (ResidentException $error) {
            self::assertSame($class, $error::class, $error->getMessage());
            return $error;
        }
        self::fail('It was answered');
    }

    private function client(): Client
    {
        return new Client($this->server->url);
    }
}
