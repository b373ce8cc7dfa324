<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Client;
use Resident\Exception\TransportError;
use Resident\Options;
use Resident\Tests\Support\Program;
use Resident\Tests\Support\Server;

/**
 * Redis is broken in some way: always a TransportError that says so, and never the password.
 */
final class FaultsTest extends TestCase
{
    public function testNobodyListensAndThatIsSaidAtOnce(): void
    {
        $listener = stream_socket_server('tcp://127.0.0.1:0');
        $address = stream_socket_get_name($listener, false);
        fclose($listener);
        $this->assertFault("redis://:secret@$address/0", "Redis at $address cannot be reached");
    }

    public function testASocketThatIsNotThere(): void
    {
        $this->assertFault('unix://:secret@/there/is/no/redis.sock', 'No such file');
    }

    public function testAFileWithoutCertificatesIsNamedAndNobodyElseIsWarned(): void
    {
        $listener = stream_socket_server('tcp://127.0.0.1:0');
        $address = stream_socket_get_name($listener, false);
        $warnings = [];
        set_error_handler(static function (int $level, string $message) use (&$warnings): bool {
            $warnings[] = $message;
            return true;
        });
        try {
            $this->assertFault("rediss://:secret@$address?ssl_ca_certs=" . __FILE__, __FILE__);
        } finally {
            restore_error_handler();
            fclose($listener);
        }
        self::assertSame([], $warnings);
    }

    public function testAServerThatSaysNothing(): void
    {
        $listener = stream_socket_server('tcp://127.0.0.1:0');
        $address = stream_socket_get_name($listener, false);
        $this->assertFault("redis://$address", 'did not answer', new Options(readTimeoutMs: 100));
        fclose($listener);
    }

    public function testAServerThatIsNoRedis(): void
    {
        $program = new Program(['-r', '$s = stream_socket_server("tcp://127.0.0.1:0");'
            . 'fwrite(STDOUT, stream_socket_get_name($s, false) . "\n");'
            . 'while ($c = stream_socket_accept($s, 30)) { fread($c, 99); fwrite($c, "HTTP/1.1 400 Bad\r\n\r\n"); }']);
        $address = $program->line();
        $this->assertFault("redis://$address", "Redis at $address cannot be reached: what answers there is no Redis");
    }

    public function testAWrongPassword(): void
    {
        $url = Server::spare()->urlAs(':secret');
        $this->assertFault($url, 'refuses the user or the password');
    }

    public function testAUserThatDoesNotExist(): void
    {
        $url = Server::spare()->urlAs('nobody:secret');
        $this->assertFault($url, 'refuses the user or the password');
    }

    public function testNoPassword(): void
    {
        $this->assertFault(Server::spare()->urlAs(''), 'wants a password');
    }

    public function testADatabaseThatDoesNotExist(): void
    {
        $url = preg_replace('/db=\d+/', 'db=99', Server::spare()->url);
        $this->assertFault($url, 'DB index is out of range');
    }

    public function testAFullRedis(): void
    {
        $server = Server::spare();
        $server->announce('faq');
        $server->redis->config('SET', 'maxmemory', '1');
        $this->assertFault($server->url, 'is full');
        $server->redis->config('SET', 'maxmemory', '0');
        self::assertSame(0, $server->redis->exists('rq:queue:faq'));
    }

    public function testAReplica(): void
    {
        $server = Server::spare();
        $server->announce('faq');
        $server->redis->rawCommand('REPLICAOF', '127.0.0.1', '1');
        $this->assertFault($server->url, 'replica');
        $server->redis->rawCommand('REPLICAOF', 'NO', 'ONE');
    }

    public function testAUserWhoMayNotAsk(): void
    {
        $server = Server::spare();
        $server->redis->rawCommand('ACL', 'SETUSER', 'guest', 'on', '>secret', '~*', '+ping');
        $this->assertFault($server->urlAs('guest:secret'), 'does not let this user ask');
        $server->redis->rawCommand('ACL', 'DELUSER', 'guest');
    }

    /**
     * PHP keeps arguments in the traces of exceptions unless it is told otherwise.
     *
     * @dataProvider calls
     */
    public function testNeitherTheQuestionNorThePasswordIsInATrace(string $call): void
    {
        $dsn = preg_replace('~//~', '//:pass-word@', (string) getenv('RESIDENT_SILENT_URL'));
        $code = 'require "php_client/autoload.php"; $word = strtolower("MAGIC-WORD");'
            . 'foreach ([$argv[1], $argv[2]] as $url) { try { $client = new Resident\Client($url);'
            . "$call; } catch (Resident\Exception\ResidentException \$error) {"
            . 'echo $error->code()->value, "\n"; print_r(array_column($error->getTrace(), "args")); } }';
        $words = ['-d', 'zend.exception_ignore_args=0', '-r', $code, '--', $dsn, Server::spare()->url];
        [$exitCode, $output] = (new Program($words))->result();
        self::assertSame(0, $exitCode);
        self::assertMatchesRegularExpression('/\Atransport_error\n.*^no_worker\n/ms', $output);
        self::assertStringContainsString('SensitiveParameterValue', $output);
        self::assertStringNotContainsString('magic-word', $output);
        self::assertStringNotContainsString('pass-word', $output);
    }

    /**
     * @return iterable<array{string}>
     */
    public static function calls(): iterable
    {
        yield 'ask' => ['$client->ask("faq", $word, 50)'];
        yield 'askMany' => ['throw $client->askMany("faq", [$word], 50)[0]'];
        yield 'submit' => ['$client->submit("faq", $word, 50)'];
        yield 'stream' => ['$client->stream("faq", $word, 50)'];
    }

    public function testAKeptConnectionThatDiedMeanwhileIsReplaced(): void
    {
        $server = Server::served();
        $client = new Client($server->url);
        $client->ask('echo', 'first');
        foreach ($server->redis->client('list') as $other) {
            if (str_starts_with($other['cmd'], 'blpop')) {
                $server->redis->rawCommand('CLIENT', 'KILL', 'ID', (string) $other['id']);
            }
        }
        self::assertSame('second', $client->ask('echo', 'second')->answer);
    }

    private function assertFault(string $url, string $expected, Options $options = new Options()): void
    {
        $startNs = hrtime(true);
        try {
            (new Client($url, $options))->ask('faq', 'x', 30_000);
            self::fail('It was answered');
        } catch (TransportError $error) {
            self::assertStringContainsString($expected, $error->getMessage());
            self::assertStringNotContainsString('secret', (string) $error);
            self::assertStringNotContainsString("\n", $error->getMessage());
            self::assertNull($error->getPrevious());
            self::assertMatchesRegularExpression('/\A[0-9a-f]{32}\z/', $error->id());
            self::assertLessThan(5e9, hrtime(true) - $startNs, 'at once, not at the end of the budget');
        }
    }
}
