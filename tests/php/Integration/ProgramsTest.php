<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Tests\Support\Program;
use Resident\Tests\Support\Server;
use Resident\Tests\Support\Wait;

/**
 * bin/ask and the examples, as somebody types them.
 */
final class ProgramsTest extends TestCase
{
    private Server $server;

    protected function setUp(): void
    {
        $this->server = Server::served();
    }

    public function testAPhpWithoutTheExtensionIsToldWhichItLacks(): void
    {
        $code = 'require "php_client/autoload.php";'
            . 'try { new Resident\Client("redis://127.0.0.1"); }'
            . 'catch (Throwable $error) { echo $error->getMessage(); }';
        [, $output] = (new Program(['-n', '-r', $code]))->result();
        self::assertStringStartsWith('PHP lacks its extension redis: apt-get install php-redis', $output);
    }

    public function testAHostWithoutGetmypidServes(): void
    {
        $words = ['-d', 'disable_functions=getmypid', 'php_client/bin/ask', 'echo', 'hello'];
        $program = new Program($words, ['RESIDENT_REDIS_URL' => Server::served()->url]);
        self::assertSame([0, "hello\n", ''], $program->result());
    }

    public function testAskPrintsTheAnswer(): void
    {
        self::assertSame([0, "今天几点开门？\n", ''], $this->runAsk(['echo', '今天几点开门？']));
    }

    public function testAskPrintsOneJsonObjectPerLineThatIsNotBlank(): void
    {
        $input = "\u{FEFF}一\n\"2\"\r\n\n \t\r\n\u{FEFF}last";
        [$exitCode, $output, $errors] = $this->runAsk(['--json', 'echo', '-'], $input);
        self::assertSame([0, ''], [$exitCode, $errors]);
        $lines = array_map(
            static fn (string $line): array => json_decode($line, true, 512, JSON_THROW_ON_ERROR),
            explode("\n", rtrim($output, "\n"))
        );
        self::assertSame(['一', '"2"', "\u{FEFF}last"], array_column($lines, 'question'));
        self::assertSame(['一', '"2"', "\u{FEFF}last"], array_column($lines, 'answer'));
        self::assertSame(['question', 'answer', 'ms', 'batch'], array_keys($lines[0]));
        self::assertIsFloat($lines[0]['ms']);
        self::assertSame(1, $lines[0]['batch']);
    }

    public function testAskShowsAnErrorInOneLine(): void
    {
        [$exitCode, $output, $errors] = $this->runAsk(['fqa', 'x']);
        self::assertSame([1, ''], [$exitCode, $output]);
        $expected = "ask: no_worker: No worker is ready for the task 'fqa'. Tasks served now: echo.\n";
        self::assertSame($expected, $errors);
    }

    public function testAskShowsAnErrorAsJsonAndGoesOn(): void
    {
        [$exitCode, $output, $errors] = $this->runAsk(['--json', 'echo', '-'], "a\n\xff\nb\n");
        self::assertSame([1, ''], [$exitCode, $errors]);
        $lines = explode("\n", $output);
        self::assertSame('invalid_question', json_decode($lines[1], true)['error']['code']);
        self::assertSame('b', json_decode($lines[2], true)['answer']);
    }

    public function testAskExplainsItself(): void
    {
        [$exitCode, $output, $errors] = $this->runAsk(['--help']);
        self::assertSame([0, ''], [$exitCode, $errors]);
        $usage = 'ask [--json] [--budget MS] [--priority P] [--tenant NAME] TASK QUESTION';
        self::assertStringContainsString($usage, $output);
    }

    public function testAskWaitsWhereItsPriorityAndTenantSay(): void
    {
        $server = Server::spare();
        $server->announce('faq');
        $server->redis->rPush('rq:queue:faq', 'somebody-else');
        $words = ['--budget=100', '--priority=high', '--tenant=acme', 'faq', 'x'];
        [$exitCode] = $this->runAsk($words, '', ['RESIDENT_REDIS_URL' => $server->url]);
        self::assertSame([1, 1], [$exitCode, $server->redis->lLen('rq:queue:faq:high:acme')]);
    }

    /**
     * @dataProvider wrongUsages
     * @param list<string> $words
     * @param array<string, string> $environment
     */
    public function testWrongUsageIsExitCode2AndOneLine(array $words, array $environment): void
    {
        [$exitCode, $output, $errors] = $this->runAsk($words, '', $environment);
        self::assertSame([2, ''], [$exitCode, $output]);
        self::assertMatchesRegularExpression('/\Aask: [^\n]+\n\z/', $errors);
    }

    public static function wrongUsages(): iterable
    {
        yield [['echo'], []];
        yield [['--budget', 'soon', 'echo', 'x'], []];
        yield [['--budget', '-5', 'echo', 'x'], []];
        yield [['--budget', '0', 'echo', 'x'], []];
        yield [['--priority', 'urgent', 'echo', 'x'], []];
        yield [['echo', 'x', '--tenant'], []];
        yield [['echo', 'x'], ['RESIDENT_REDIS_URL' => 'http://redis']];
        yield [['echo', 'x'], ['RQ_KEY_PREFIX' => 'a b']];
        yield [['echo', 'x'], ['RESIDENT_BUDGET_MS' => '0']];
    }

    public function testAPrefixThatRqRefusesIsNamedAsTheVariableThatItCameFrom(): void
    {
        [, , $errors] = $this->runAsk(['echo', 'x'], '', ['RQ_KEY_PREFIX' => 'a b']);
        self::assertStringStartsWith('ask: Invalid RQ_KEY_PREFIX "a b": only letters, digits', $errors);
    }

    public function testTheEnvironmentSaysHowLongAQuestionMayBe(): void
    {
        $long = str_repeat('x', 300_000);
        [, , $errors] = $this->runAsk(['echo', '-'], $long);
        self::assertStringStartsWith('ask: invalid_question: ', $errors);
        [$exitCode, , $errors] = $this->runAsk(['fqa', '-'], $long, ['RESIDENT_MAX_QUESTION_BYTES' => '400000']);
        self::assertSame(1, $exitCode);
        self::assertStringStartsWith('ask: no_worker: ', $errors, 'it was sent');
    }

    public function testTheExampleOfTheClientIsAnswered(): void
    {
        $program = new Program(['php_client/examples/ask.php', 'echo', '你好']);
        self::assertSame([0, "你好\n", ''], $program->result());
    }

    public function testTheBareProtocolIsAnswered(): void
    {
        self::assertSame([0, "你好\n", ''], $this->bare('echo', '你好')->result());
        $ids = $this->server->redis->zRevRange('rq:finished:echo', 0, -1);
        $isBare = fn (string $id): bool => $this->server->redis->hGet("rq:job:$id", 'timeout') === '60';
        self::assertNotEmpty(array_filter($ids, $isBare), 'RQ knows it as a finished job');
    }

    /**
     * @dataProvider unreachable
     */
    public function testAnExampleSaysInOneLineWhyItCannotAsk(string $example, string $url, int $expected): void
    {
        $program = new Program(["php_client/examples/$example"], ['RESIDENT_REDIS_URL' => $url]);
        [$exitCode, $output, $errors] = $program->result();
        self::assertSame([$expected, ''], [$exitCode, $output]);
        self::assertMatchesRegularExpression('/\A[^\n]+\n\z/', $errors);
    }

    public static function unreachable(): iterable
    {
        yield ['ask.php', 'redis://127.0.0.1:1', 1];
        yield ['ask.php', 'junk', 1];
        yield ['bare.php', 'redis://127.0.0.1:1', 1];
        yield ['bare.php', 'unix:///run/redis.sock', 2];
        yield ['bare.php', 'rediss://127.0.0.1', 2];
        yield ['bare.php', 'redis://127.0.0.1?db=4', 2];
        yield ['bare.php', 'redis://127.0.0.1/zero', 2];
        yield ['bare.php', 'junk', 2];
    }

    public function testTheBareProtocolTakesTheUserAndTheDatabaseOfItsUrl(): void
    {
        $server = $this->server;
        $server->redis->rawCommand('ACL', 'SETUSER', 'bare', 'on', '>p@ss', '~*', '+@all');
        $server->redis->select(4);
        try {
            $url = preg_replace('~/0\z~', '/4', $server->urlAs('bare:p%40ss'));
            $program = new Program(['php_client/examples/bare.php', 'faq', 'x'], ['RESIDENT_REDIS_URL' => $url]);
            $id = Wait::until(static fn (): mixed => $server->redis->lIndex('rq:queue:faq', 0));
            $server->reply($id, 'from database 4');
            self::assertSame([0, "from database 4\n", ''], $program->result());
        } finally {
            $server->redis->flushDB();
            $server->redis->select(0);
            $server->redis->rawCommand('ACL', 'DELUSER', 'bare');
        }
    }

    public function testTheBareProtocolSaysThatItsPasswordIsRefused(): void
    {
        $environment = ['RESIDENT_REDIS_URL' => $this->server->urlAs(':wrong')];
        [$exitCode, , $errors] = (new Program(['php_client/examples/bare.php'], $environment))->result();
        self::assertSame(1, $exitCode);
        self::assertMatchesRegularExpression('/\ARedis: WRONGPASS [^\n]+\n\z/', $errors);
    }

    private function bare(string ...$words): Program
    {
        $environment = ['RESIDENT_REDIS_URL' => $this->server->url];
        return new Program(['php_client/examples/bare.php', ...array_values($words)], $environment);
    }

    public function testAskEndsAsSoonAsNobodyReadsOn(): void
    {
        $ask = 'yes hi 2>&- | head -n 2000 | php php_client/bin/ask echo - 2>&1 >/dev/full; echo $?';
        $environment = ['RESIDENT_REDIS_URL' => $this->server->url] + getenv();
        $answered = fn (): int => count($this->server->redis->keys('rq:results:*'));
        $before = $answered();
        $process = proc_open(['sh', '-c', $ask], [1 => ['pipe', 'w']], $pipes, dirname(__DIR__, 3), $environment);
        self::assertSame("1\n", stream_get_contents($pipes[1]));
        proc_close($process);
        self::assertSame($before + 1, $answered());
    }

    /**
     * @param list<string> $words
     * @param array<string, string> $environment
     * @return array{int, string, string}
     */
    private function runAsk(array $words, string $input = '', array $environment = []): array
    {
        return (new Program(['php_client/bin/ask', ...$words], $environment, $input))->result();
    }
}
