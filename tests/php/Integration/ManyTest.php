<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Answer;
use Resident\Client;
use Resident\Exception\CallerError;
use Resident\Exception\ResidentException;
use Resident\Exception\TransportError;
use Resident\Redis\Dsn;
use Resident\Tests\Support\Memory;
use Resident\Tests\Support\Server;

/**
 * Many questions at once: one write out, one mailbox in.
 */
final class ManyTest extends TestCase
{
    public function testEachAnswerStandsUnderTheKeyOfItsQuestion(): void
    {
        $questions = ['hours' => '几点开门？', 7 => ['a', 1.0], 'nothing' => null];
        $answers = (new Client(Server::served()->url))->askMany('echo', $questions, 10_000);
        self::assertSame($questions, array_map(static fn (Answer $answer) => $answer->answer, $answers));
    }

    public function testABadQuestionDoesNotSpoilTheOthers(): void
    {
        $outcomes = (new Client(Server::served()->url))->askMany('echo', ['a', "b\xff", NAN, 'd'], 10_000);
        self::assertSame(['answered', 'invalid_question', 'invalid_question', 'answered'], self::codes($outcomes));
        self::assertStringContainsString('byte 1 on', $outcomes[1]->getMessage());
    }

    public function testAThousandQuestionsShareAConnectionAndLeaveNothing(): void
    {
        $server = Server::served();
        $answers = (new Client($server->url))->askMany('echo', range(1, 1200), 20_000);
        self::assertSame(range(1, 1200), array_map(static fn (Answer $answer) => $answer->answer, $answers));
        self::assertSame([], $server->redis->keys('resident:mailbox:*'));
    }

    public function testThoseThatTheBudgetOvertakesExpireAndAreNoFaultOfRedis(): void
    {
        $server = Server::spare();
        $server->announce('faq', 10_000);
        $outcomes = (new Client($server->url))->askMany('faq', range(1, 4000), 30);
        self::assertSame(['expired'], array_unique(self::codes($outcomes)));
    }

    public function testARedisThatSaysNothingIsNotTriedForEachHundred(): void
    {
        $dsn = Dsn::parse((string) getenv('RESIDENT_SILENT_URL'));
        $made = 0;
        $factory = static function () use ($dsn, &$made): \Redis {
            $made++;
            $redis = new \Redis();
            $redis->connect($dsn->host, $dsn->port);
            return $redis;
        };
        $outcomes = (new Client($factory))->askMany('echo', range(1, 1000), 100);
        self::assertSame(['transport_error'], array_unique(self::codes($outcomes)));
        self::assertSame(1, $made);
    }

    public function testAConnectionOfTheCallersIsGivenBackInOrder(): void
    {
        $redis = Server::served()->connect();
        $client = new Client($redis);
        self::assertSame(['answered', 'answered'], self::codes($client->askMany('echo', [1, 2], 10_000)));
        self::assertSame(\Redis::ATOMIC, $redis->getMode());
        self::assertSame('又', $redis->echo('又'));
    }

    public function testEachHasTheErrorThatItWouldHaveHadAlone(): void
    {
        $server = Server::spare();
        $client = new Client($server->url);
        self::assertSame(['no_worker', 'no_worker'], self::codes($client->askMany('faq', [1, 2], 100)));
        $server->announce('faq', 3);
        $outcomes = $client->askMany('faq', range(1, 5), 100);
        self::assertSame(
            ['expired', 'expired', 'expired', 'overloaded', 'overloaded'],
            self::codes($outcomes)
        );
        $ids = array_map(static fn (ResidentException $error): string => $error->id(), $outcomes);
        self::assertCount(5, array_unique($ids));
    }

    public function testAFullRedisRefusesEachAndIsLeftInStep(): void
    {
        $server = Server::spare();
        $server->announce('faq');
        $server->redis->config('SET', 'maxmemory', '1');
        $redis = $server->connect();
        foreach ((new Client($redis))->askMany('faq', [1, 2], 500) as $outcome) {
            self::assertInstanceOf(TransportError::class, $outcome);
            self::assertStringContainsString('is full', $outcome->getMessage());
        }
        $server->redis->config('SET', 'maxmemory', '0');
        $codes = self::codes((new Client($server->connect()))->askMany('faq', [1], 50));
        self::assertSame(['expired'], $codes);
    }

    public function testARefusalOfAHundredByRedisCostsTheOthersNoAnswer(): void
    {
        $server = Server::served();
        $small = array_fill(0, 100, 'small');
        $large = array_fill(0, 100, str_repeat('x', 60_000));
        $free = $server->redis->info('memory')['used_memory'] + 3_000_000; // enough for the first hundred
        $server->redis->config('SET', 'maxmemory', (string) $free);
        $outcomes = (new Client($server->url))->askMany('echo', [...$small, ...$large], 10_000);
        $server->redis->config('SET', 'maxmemory', '0');
        self::assertSame(
            ['answered' => 100, 'transport_error' => 100],
            array_count_values(self::codes($outcomes))
        );
    }

    public function testARedisThatIsAwayIsOneErrorInTheLog(): void
    {
        $logger = Memory::logger();
        $outcomes = (new Client('unix:///there/is/no/redis.sock', logger: $logger))->askMany('faq', range(1, 250), 500);
        self::assertSame(['transport_error'], array_values(array_unique(self::codes($outcomes))));
        $levels = array_count_values(array_column($logger->records, 0));
        self::assertSame(['warning' => 3, 'error' => 1], $levels, 'a warning for each hundred');
    }

    public function testARefusalByRedisIsOneErrorInTheLog(): void
    {
        $logger = Memory::logger();
        $client = new Client(Server::spare()->urlAs(':secret'), logger: $logger);
        self::assertSame(['transport_error', 'transport_error'], self::codes($client->askMany('faq', [1, 2], 500)));
        self::assertSame(['error'], array_column($logger->records, 0));
    }

    public function testNothingIsAskedOfATaskThatCannotBe(): void
    {
        self::assertSame([], (new Client('unix:///there/is/no/redis.sock'))->askMany('faq', []));
        $this->expectException(CallerError::class);
        (new Client('unix:///there/is/no/redis.sock'))->askMany('../faq', []);
    }

    /**
     * @param array<Answer|ResidentException> $outcomes
     * @return array<string>
     */
    private static function codes(array $outcomes): array
    {
        return array_map(
            static fn (Answer|ResidentException $one): string
                => $one instanceof ResidentException ? $one->code()->value : 'answered',
            $outcomes
        );
    }
}
