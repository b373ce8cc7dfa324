<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Client;
use Resident\ErrorCode;
use Resident\Exception\OperatorError;
use Resident\Exception\ResidentException;
use Resident\Exception\TransportError;
use Resident\Exception\TryAgain;
use Resident\Options;
use Resident\Stream;
use Resident\Tests\Support\Program;
use Resident\Tests\Support\Server;
use Resident\Tests\Support\Wait;

/**
 * Answers that are read as they come; the worker of `tell` does what its question says.
 */
final class StreamsTest extends TestCase
{
    private const BUDGET_MS = 20_000;

    private Server $server;
    private Client $client;
    private string $folder;

    protected function setUp(): void
    {
        $this->server = Server::told();
        $this->client = new Client($this->server->url);
        $this->folder = sys_get_temp_dir() . '/resident-' . bin2hex(random_bytes(8));
        mkdir($this->folder);
    }

    protected function tearDown(): void
    {
        array_map(unlink(...), glob("$this->folder/*"));
        rmdir($this->folder);
    }

    public function testDeltasComeInTheirOrderAndTheAnswerIsWhole(): void
    {
        $stream = $this->client->stream('tell', ['你', '', '好', ['count' => 2]], self::BUDGET_MS);
        self::assertSame(['你', '好', '0 ', '1 '], iterator_to_array($stream));
        self::assertSame('你好0 1 ', $stream->text());
        self::assertSame('你好0 1 ', $stream->answer()->answer);
        self::assertSame($stream->id, $stream->answer()->id);
        self::assertSame([], iterator_to_array($stream));
        self::assertSame(0, $this->server->redis->exists("resident:reading:$stream->id"));
        self::assertSame('finished', $this->server->redis->hGet("rq:job:$stream->id", 'status'));
    }

    public function testADeltaComesBeforeTheNextIsThere(): void
    {
        $question = ['one', ['wait for' => "$this->folder/gate"], 'two'];
        $came = [];
        foreach ($this->client->stream('tell', $question, self::BUDGET_MS) as $delta) {
            $came[] = $delta;
            touch("$this->folder/gate");
        }
        self::assertSame(['one', 'two'], $came);
    }

    public function testTheAnswerAloneReadsTheStreamToItsEnd(): void
    {
        self::assertSame('ab', (string) $this->client->stream('tell', ['a', 'b'])->answer());
    }

    public function testWhoOnlyAsksGetsTheWholeAnswer(): void
    {
        self::assertSame('ab', $this->client->ask('tell', ['a', 'b'], self::BUDGET_MS)->answer);
    }

    public function testAReaderIsThereAlthoughRedisIsFull(): void
    {
        $spare = Server::spare();
        $spare->announce('faq');
        $stream = (new Client($spare->url))->stream('faq', 'x', self::BUDGET_MS);
        $spare->part($stream->id, 0, 'a');
        $spare->redis->pExpire("resident:reading:$stream->id", 5_000);
        $spare->redis->config('SET', 'maxmemory', '1');
        $reading = (new \ReflectionProperty($stream, 'reading'))->getValue($stream);
        (new \ReflectionProperty($reading, 'renewAtNs'))->setValue($reading, 0); // as if 5 s were over
        $deltas = $stream->getIterator();
        self::assertSame('a', $deltas->current());
        self::assertGreaterThan(5_000, $spare->redis->pttl("resident:reading:$stream->id"));
        $spare->redis->config('SET', 'maxmemory', '0');
    }

    /**
     * @dataProvider waysToLeave
     */
    public function testWhoLeavesStopsTheModel(\Closure $read): void
    {
        [$gate, $closed] = ["$this->folder/gate", "$this->folder/closed"];
        $question = ['one', ['wait for' => $gate], ['count' => 2 ** 31], ['at end' => $closed]];
        $stream = $this->client->stream('tell', $question, self::BUDGET_MS);
        $id = $stream->id;
        self::assertSame(1, $this->server->redis->exists("resident:reading:$id"));
        // Who leaves before a worker began takes the question back, and nothing runs.
        Wait::until(fn (): mixed => $this->server->redis->hGet("rq:job:$id", 'streamed'));
        $read($stream);
        unset($stream);
        self::assertSame(0, $this->server->redis->exists("resident:reading:$id"));
        touch($gate);
        Wait::until(static fn (): bool => file_exists($closed));
        self::assertSame('next', $this->client->ask('tell', ['next'], self::BUDGET_MS)->answer);
    }

    public static function waysToLeave(): iterable
    {
        yield 'break' => [static function (Stream $stream): void {
            foreach ($stream as $delta) {
                break;
            }
            self::assertSame('one', $delta);
        }];
        yield 'an exception in the loop' => [static function (Stream $stream): void {
            try {
                foreach ($stream as $delta) {
                    throw new \DomainException($delta);
                }
            } catch (\DomainException $error) {
                self::assertSame('one', $error->getMessage());
            }
        }];
        yield 'leave()' => [static fn (Stream $stream) => $stream->leave()];
        yield 'letting go' => [static fn (Stream $stream) => null];
    }

    public function testAStreamThatWasLeftHasNoAnswer(): void
    {
        $stream = $this->client->stream('tell', ['one', 'two'], self::BUDGET_MS);
        foreach ($stream as $delta) {
            break;
        }
        $error = self::errorOf(static fn () => $stream->answer());
        self::assertInstanceOf(TryAgain::class, $error);
        self::assertSame([ErrorCode::Cancelled, $stream->id], [$error->code(), $error->id()]);
        self::assertSame('one', $stream->text());
    }

    public function testABudgetThatRunsOutInTheMiddleStopsTheModel(): void
    {
        [$gate, $closed] = ["$this->folder/gate", "$this->folder/closed"];
        $question = ['one', ['wait for' => $gate], 'two', ['at end' => $closed]];
        $this->client->ask('tell', ['there'], self::BUDGET_MS); // another test may have killed the worker
        $stream = $this->client->stream('tell', $question, 2_000);
        $error = self::errorOf(static fn () => iterator_to_array($stream));
        self::assertSame(ErrorCode::Expired, $error->code());
        self::assertSame('The answer did not end within 2000 ms', $error->getMessage());
        self::assertSame('one', $stream->text());
        touch($gate);
        Wait::until(static fn (): bool => file_exists($closed));
    }

    public function testWhatCameBeforeAnErrorStays(): void
    {
        $stream = $this->client->stream('tell', ['one', ['fail' => 'no more']], self::BUDGET_MS);
        $error = self::errorOf(static fn () => iterator_to_array($stream));
        self::assertInstanceOf(OperatorError::class, $error);
        self::assertSame(ErrorCode::ModelError, $error->code());
        self::assertSame('one', $stream->text());
        self::assertSame($error, self::errorOf(static fn () => $stream->answer()));
    }

    public function testAWorkerThatDiesInTheMiddleIsToldAfterWhatCame(): void
    {
        $stream = $this->client->stream('tell', ['one', 'two', ['die' => 1]], self::BUDGET_MS);
        $error = self::errorOf(static fn () => iterator_to_array($stream));
        self::assertSame([ErrorCode::Crashed, 'onetwo'], [$error->code(), $stream->text()]);
    }

    public function testOtherQuestionsMayBeAskedBetweenTwoDeltas(): void
    {
        $echo = new Client(Server::served()->url);
        foreach ([$echo, $this->client] as $other) {
            $came = [];
            foreach ($this->client->stream('tell', ['a', 'b', 'c'], self::BUDGET_MS) as $delta) {
                $came[] = $delta;
                [$task, $question] = $other === $echo ? ['echo', $delta] : ['tell', [$delta]];
                self::assertSame($delta, $other->ask($task, $question, self::BUDGET_MS)->answer);
            }
            self::assertSame(['a', 'b', 'c'], $came);
        }
    }

    public function testAConnectionOfTheCallersWorksTooAndIsGivenBackAsItWas(): void
    {
        $redis = $this->server->connect();
        $redis->setOption(\Redis::OPT_READ_TIMEOUT, 7.0);
        foreach ((new Client($redis))->stream('tell', ['a', 'b'], self::BUDGET_MS) as $delta) {
            self::assertSame(7.0, $redis->getOption(\Redis::OPT_READ_TIMEOUT));
        }
        self::assertSame('b', $delta);
    }

    public function testAnotherDatabaseMayBeSelectedBetweenTwoDeltas(): void
    {
        $redis = $this->server->connect();
        $came = [];
        foreach ((new Client($redis))->stream('tell', ['a', 'b', 'c'], self::BUDGET_MS) as $delta) {
            $came[] = $delta;
            $redis->select(4);
            self::assertFalse($redis->exists('rq:queues') > 0, 'this is database 4');
        }
        self::assertSame(['a', 'b', 'c'], $came);
        self::assertSame(0, $redis->exists('rq:queues'));
    }

    public function testNobodyCanCopyAStreamAndEndItByThat(): void
    {
        $stream = $this->client->stream('tell', ['a', 'b'], self::BUDGET_MS);
        try {
            $copy = clone $stream;
            unset($copy);
            self::fail('There is a copy');
        } catch (\Error $error) {
            self::assertStringContainsString('private Resident\Stream::__clone()', $error->getMessage());
        }
        self::assertSame('ab', (string) $stream->answer());
    }

    public function testNeitherAClientNorAStreamCanBeSerialized(): void
    {
        foreach ([$this->client, $this->client->stream('tell', ['a'], self::BUDGET_MS)] as $object) {
            try {
                serialize($object);
                self::fail('It was written down');
            } catch (\LogicException $error) {
                self::assertStringContainsString('cannot be serialized', $error->getMessage());
            }
        }
    }

    public function testAStreamThatIsRefusedLeavesNothing(): void
    {
        $spare = Server::spare();
        $error = self::errorOf(static fn () => (new Client($spare->url))->stream('tell', ['a']));
        self::assertSame(ErrorCode::NoWorker, $error->code());
        self::assertSame([], $spare->redis->keys('*'));
    }

    public function testAReaderThatLosesItsConnectionReadsOn(): void
    {
        $spare = Server::spare();
        $spare->announce('tell');
        $code = 'require "php_client/autoload.php";'
            . '$stream = (new Resident\Client($argv[1]))->stream("tell", [], 10000);'
            . 'foreach ($stream as $delta) echo "<$delta>"; echo $stream->answer();';
        $program = new Program(['-r', $code, '--', $spare->url]);
        $lost = '';
        foreach (['a', 'b', 'c'] as $seq => $delta) {
            $lost = Wait::until(static function () use ($spare, $lost): ?string {
                $now = $spare->blockedIn('blpop');
                return $now === $lost ? null : $now;
            });
            $spare->redis->rawCommand('CLIENT', 'KILL', 'ID', $lost);
            $id = $spare->redis->lIndex('rq:queue:tell', 0);
            $spare->part($id, $seq, $delta);
        }
        $spare->reply($id, 'abc');
        self::assertSame([0, '<a><b><c>abc', ''], $program->result());
    }

    public function testAReaderThatLosesItsConnectionReadsTheReplyThatIsThereStill(): void
    {
        $spare = Server::spare();
        $spare->announce('tell');
        $code = 'require "php_client/autoload.php";'
            . 'echo (new Resident\Client($argv[1]))->stream("tell", [], 20000)->answer();';
        $program = new Program(['-r', $code, '--', $spare->url]);
        $reader = $spare->blockedIn('blpop');
        $id = $spare->redis->lIndex('rq:queue:tell', 0);
        $spare->redis->multi(); // as settle.lua does it, while the connection is lost
        $spare->redis->rawCommand('CLIENT', 'KILL', 'ID', $reader);
        $spare->redis->hSet("rq:job:$id", 'status', 'finished');
        $spare->reply($id, 'abc');
        $spare->redis->exec();
        self::assertSame([0, 'abc', ''], $program->result());
    }

    public function testAReaderWhoseReplyIsLostWithItsConnectionIsToldSo(): void
    {
        $spare = Server::spare();
        $spare->announce('tell');
        $code = 'require "php_client/autoload.php";'
            . '$stream = (new Resident\Client($argv[1]))->stream("tell", [], 20000);'
            . 'try { $stream->answer(); } catch (Resident\Exception\TransportError $error) {'
            . 'echo $error->getMessage(); }';
        $program = new Program(['-r', $code, '--', $spare->url]);
        $reader = $spare->blockedIn('blpop');
        $id = $spare->redis->lIndex('rq:queue:tell', 0);
        $spare->redis->hSet("rq:job:$id", 'status', 'finished'); // its reply was taken
        $spare->redis->rawCommand('CLIENT', 'KILL', 'ID', $reader);
        $expected = 'The connection to Redis broke off, and took with it what came last of this stream';
        self::assertSame([0, $expected, ''], $program->result());
    }

    public function testAPartThatIsMissingIsATransportError(): void
    {
        $spare = Server::spare();
        $spare->announce('tell');
        $stream = (new Client($spare->url))->stream('tell', ['?'], self::BUDGET_MS);
        $spare->part($stream->id, 0, 'a');
        $spare->part($stream->id, 2, 'c');
        $error = self::errorOf(static fn () => iterator_to_array($stream));
        self::assertInstanceOf(TransportError::class, $error);
        self::assertStringStartsWith('What came back is no reply: another part', $error->getMessage());
        self::assertSame('a', $stream->text());
    }

    public function testAChildThatIsForkedDoesNotLeaveForItsParent(): void
    {
        $code = 'require "php_client/autoload.php";'
            . '$stream = (new Resident\Client($argv[1]))->stream("tell", ["a", "b"], 20000);'
            . 'if (pcntl_fork() === 0) exit; pcntl_wait($status); echo $stream->answer();';
        $program = new Program(['-r', $code, '--', $this->server->url]);
        self::assertSame([0, 'ab', ''], $program->result());
    }

    public function testTheBudgetIsThatOfTheOptionsUnlessOneIsGiven(): void
    {
        $spare = Server::spare();
        $spare->announce('tell');
        $client = new Client($spare->url, new Options(budgetMs: 50));
        $error = self::errorOf(static fn () => $client->stream('tell', [])->answer());
        self::assertSame('The answer did not end within 50 ms', $error->getMessage());
    }

    private static function errorOf(\Closure $call): ResidentException
    {
        try {
            $call();
        } catch (ResidentException $error) {
            return $error;
        }
        self::fail('There was no error');
    }
}
