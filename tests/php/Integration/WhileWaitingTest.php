<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Tests\Support\Program;
use Resident\Tests\Support\Server;
use Resident\Tests\Support\Wait;

/**
 * What happens between the question and its reply, seen from beside.
 */
final class WhileWaitingTest extends TestCase
{
    private Server $server;

    protected function setUp(): void
    {
        $this->server = Server::spare();
        $this->server->announce('faq');
    }

    public function testAQuestionIsAnRqJobWhoseLifeIsItsBudget(): void
    {
        $program = $this->ask('--budget=10000', 'faq', '你好/');
        $this->server->blockedIn('blpop');
        $id = $this->server->redis->lIndex('rq:queue:faq', 0);
        $job = $this->server->redis->hGetAll("rq:job:$id");
        $leftMs = $this->server->redis->pttl("rq:job:$id");
        $this->server->reply($id, '您好');

        self::assertSame([0, "您好\n", ''], $program->result());
        self::assertMatchesRegularExpression('/\A\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z\z/', $job['created_at']);
        self::assertSame($job['created_at'], $job['enqueued_at']);
        unset($job['created_at'], $job['enqueued_at']);
        self::assertEquals([
            'data' => '["tasks.faq.answer",null,["你好/"],{}]',
            'status' => 'queued',
            'origin' => 'faq',
            'description' => 'tasks.faq.answer(…)',
            'failure_ttl' => '604800',
            'success_callback_name' => 'resident.replies.deliver',
            'failure_callback_name' => 'resident.replies.deliver_error',
            'asked' => 'new',
        ], $job);
        self::assertGreaterThan(0, $leftMs);
        self::assertLessThanOrEqual(10_000, $leftMs);
    }

    public function testAConnectionLostWhileWaitingIsOpenedAgain(): void
    {
        $program = $this->ask('--budget=10000', 'faq', 'x');
        $lost = $this->server->blockedIn('blpop');
        $this->server->redis->rawCommand('CLIENT', 'KILL', 'ID', $lost);
        $next = Wait::until(fn () => $this->otherThan($lost));
        self::assertNotSame($lost, $next);

        $this->server->reply($this->server->redis->lIndex('rq:queue:faq', 0), 'still there');
        self::assertSame([0, "still there\n", ''], $program->result());
        self::assertSame(1, $this->server->redis->lLen('rq:queue:faq'), 'it was asked once');
    }

    public function testAReplyThatGoesTheWayOfALostConnectionIsMadeAgain(): void
    {
        $program = $this->ask('--budget=10000', 'faq', 'x');
        $own = $this->server->blockedIn('blpop');
        $redis = $this->server->redis;
        $id = $redis->lPop('rq:queue:faq');
        $lost = new Program(['-r', 'require "php_client/autoload.php"; $d = Resident\Redis\Dsn::parse($argv[1]);'
            . '$r = new Redis(); $r->connect($d->host, $d->port); $r->auth($d->password());'
            . 'echo $r->blPop(["resident:reply:$argv[2]"], 10)[0];', '--', $this->server->url, $id]);
        Wait::until(fn () => $this->otherThan($own)); // Redis serves it first, as one of which it does not know yet
        $redis->rawCommand('CLIENT', 'KILL', 'ID', $own);
        $redis->hSet("rq:job:$id", 'status', 'finished');
        Wait::until(fn () => count($this->clientsIn('blpop')) === 2);
        $this->server->reply($id, 'away');
        self::assertSame([0, "resident:reply:$id", ''], $lost->result());

        self::assertSame($id, Wait::until(fn () => $redis->lIndex('rq:queue:faq', 0)));
        $this->server->reply($id, 'again');
        self::assertSame([0, "again\n", ''], $program->result());
    }

    public function testAQuestionThatRedisForgotMeanwhileIsAskedAgain(): void
    {
        $program = $this->ask('--budget=10000', 'faq', 'x');
        $lost = $this->server->blockedIn('blpop');
        $id = $this->server->redis->lPop('rq:queue:faq');
        $this->server->redis->del("rq:job:$id");
        $this->server->redis->rawCommand('CLIENT', 'KILL', 'ID', $lost);
        Wait::until(fn () => $this->otherThan($lost));

        self::assertSame($id, $this->server->redis->lIndex('rq:queue:faq', 0));
        $this->server->reply($id, 'again');
        self::assertSame([0, "again\n", ''], $program->result());
    }

    public function testOneOfManyThatGetsNoReplySpoilsNoOther(): void
    {
        $code = 'require "php_client/autoload.php";'
            . 'foreach ((new Resident\Client($argv[1]))->askMany("faq", ["a", "b"], 10000) as $one) {'
            . 'echo $one instanceof Resident\Answer ? $one : $one->code()->value, " "; }';
        $program = new Program(['-r', $code, '--', $this->server->url]);
        $this->server->blockedIn('blmove');
        $redis = $this->server->redis;
        [$bad, $good] = $redis->lRange('rq:queue:faq', 0, -1);
        $mailbox = $redis->hGet("rq:job:$bad", 'reply_to');
        $redis->rPush($mailbox, json_encode(['v' => 9, 'id' => $bad]));
        $this->server->reply($good, 'answer', $mailbox);
        self::assertSame([0, 'transport_error answer ', ''], $program->result());
    }

    public function testOnlyWhatRedisForgotOfManyIsAskedAgain(): void
    {
        $code = 'require "php_client/autoload.php";'
            . 'echo implode(" ", (new Resident\Client($argv[1]))->askMany("faq", ["a", "b", "c"], 10000));';
        $program = new Program(['-r', $code, '--', $this->server->url]);
        $lost = $this->server->blockedIn('blmove');
        $redis = $this->server->redis;
        [$answered, $forgotten, $kept] = $redis->lRange('rq:queue:faq', 0, -1);
        $mailbox = $redis->hGet("rq:job:$answered", 'reply_to');
        $redis->multi();
        $redis->rawCommand('CLIENT', 'KILL', 'ID', $lost);
        $redis->del("rq:job:$answered", "rq:job:$forgotten");
        $redis->lTrim('rq:queue:faq', -1, -1);
        $this->server->reply($answered, 'first', $mailbox);
        $redis->exec();
        Wait::until(fn () => in_array($forgotten, $redis->lRange('rq:queue:faq', 0, -1), true));
        $this->server->reply($forgotten, 'second', $mailbox);
        $this->server->reply($kept, 'third', $mailbox);

        self::assertSame([0, 'first second third', ''], $program->result());
        self::assertSame([$kept, $forgotten], $redis->lRange('rq:queue:faq', 0, -1));
    }

    public function testWhatRedisForgotIsAskedUntilItIsLetIn(): void
    {
        $code = 'require "php_client/autoload.php";'
            . 'echo implode(" ", (new Resident\Client($argv[1]))->askMany("faq", ["a"], 10000));';
        $program = new Program(['-r', $code, '--', $this->server->url]);
        $lost = $this->server->blockedIn('blmove');
        $redis = $this->server->redis;
        $id = $redis->lIndex('rq:queue:faq', 0);
        $mailbox = $redis->hGet("rq:job:$id", 'reply_to');
        $redis->multi();
        $redis->rawCommand('CLIENT', 'KILL', 'ID', $lost);
        $redis->flushDb();
        $redis->exec();
        $calls = fn (): string => $redis->info('commandstats')['cmdstat_lrange'] ?? '';
        $before = $calls();
        Wait::until(fn (): bool => $calls() !== $before);
        $this->server->announce('faq');
        Wait::until(fn () => $redis->lIndex('rq:queue:faq', 0));
        $this->server->reply($id, 'again', $mailbox);

        self::assertSame([0, 'again', ''], $program->result());
    }

    public function testOneLookTellsThatRedisHasAllOfManyStill(): void
    {
        $code = 'require "php_client/autoload.php";'
            . 'echo count((new Resident\Client($argv[1]))->askMany("faq", range(1, 20), 10000));';
        $program = new Program(['-r', $code, '--', $this->server->url]);
        $lost = $this->server->blockedIn('blmove');
        $redis = $this->server->redis;
        $redis->rawCommand('CONFIG', 'RESETSTAT');
        $redis->rawCommand('CLIENT', 'KILL', 'ID', $lost);
        self::assertNotSame($lost, Wait::until(fn () => $this->otherThan($lost, 'blmove')));
        self::assertStringStartsWith('calls=1,', $redis->info('commandstats')['cmdstat_exists']);
        foreach ($redis->lRange('rq:queue:faq', 0, -1) as $id) {
            $this->server->reply($id, '!', $redis->hGet("rq:job:$id", 'reply_to'));
        }
        self::assertSame([0, '20', ''], $program->result());
    }

    public function testALentConnectionLostWhileWaitingIsATransportError(): void
    {
        $program = new Program(['tests/php/Support/lent_connection.php', $this->server->url, 'faq']);
        $lost = $this->server->blockedIn('blpop');
        $this->server->redis->rawCommand('CLIENT', 'KILL', 'ID', $lost);
        [$exitCode, $output, $errors] = $program->result();
        self::assertSame([0, ''], [$exitCode, $errors]);
        self::assertStringStartsWith('transport_error: Redis at ', $output);
    }

    public function testAWaitThatAFailoverEndsGoesOn(): void
    {
        $program = $this->ask('--budget=10000', 'faq', 'x');
        $ended = $this->server->blockedIn('blpop');
        $this->server->redis->rawCommand('CLIENT', 'UNBLOCK', $ended, 'ERROR');
        Wait::until(fn () => $this->otherThan($ended));
        $this->server->reply($this->server->redis->lIndex('rq:queue:faq', 0), 'still there');
        self::assertSame([0, "still there\n", ''], $program->result());
    }

    public function testTwoWhoAskWithOneIdGetTheSameReply(): void
    {
        $programs = [$this->askWithId(), $this->askWithId()];
        Wait::until(fn () => count($this->clientsIn('blmove')) === 2);
        self::assertSame(1, $this->server->redis->lLen('rq:queue:faq'));
        $this->server->reply('one-id', 'for both');
        foreach ($programs as $program) {
            self::assertSame([0, 'for both', ''], $program->result());
        }
    }

    private function ask(string ...$words): Program
    {
        $environment = ['RESIDENT_REDIS_URL' => $this->server->url];
        return new Program(['php_client/bin/ask', ...array_values($words)], $environment);
    }

    private function askWithId(): Program
    {
        $code = 'require "php_client/autoload.php";'
            . 'echo (new Resident\Client($argv[1]))->ask("faq", "x", 10000, "one-id");';
        return new Program(['-r', $code, '--', $this->server->url]);
    }

    private function otherThan(string $id, string $command = 'blpop'): ?string
    {
        return array_values(array_diff($this->clientsIn($command), [$id]))[0] ?? null;
    }

    /**
     * @return list<string>
     */
    private function clientsIn(string $command): array
    {
        $isIn = static fn (array $client): bool
            => $client['cmd'] === $command && str_contains($client['flags'], 'b');
        $clients = array_filter($this->server->redis->client('list'), $isIn);
        return array_map(strval(...), array_column($clients, 'id'));
    }
}
