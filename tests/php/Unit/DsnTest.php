<?php

declare(strict_types=1);

namespace Resident\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Resident\Exception\ConfigurationError;
use Resident\Redis\Dsn;

final class DsnTest extends TestCase
{
    /**
     * @dataProvider readable
     * @param array{string, int, string, string, int} $expected
     */
    public function testAReadableDsnIsTakenApart(string $text, array $expected): void
    {
        $dsn = Dsn::parse($text);
        self::assertSame(
            $expected,
            [$dsn->host, $dsn->port, $dsn->user, $dsn->password(), $dsn->database]
        );
    }

    public static function readable(): iterable
    {
        yield ['redis://127.0.0.1', ['127.0.0.1', 6379, '', '', 0]];
        yield ['redis://redis:6380/3', ['redis', 6380, '', '', 3]];
        yield 'as redis-py' => ['redis://redis/1?db=4', ['redis', 6379, '', '', 4]];
        yield ['redis://redis?db=4', ['redis', 6379, '', '', 4]];
        yield ['redis://:s%40cret%2F@redis:6379/0', ['redis', 6379, '', 's@cret/', 0]];
        yield ['redis://asker:secret@redis', ['redis', 6379, 'asker', 'secret', 0]];
        yield ['redis://[::1]:6379/1', ['::1', 6379, '', '', 1]];
        yield ['rediss://redis:6379', ['tls://redis', 6379, '', '', 0]];
        yield ['unix:///run/redis.sock', ['/run/redis.sock', 0, '', '', 0]];
        yield ['unix://:secret@/run/my%20redis.sock?db=2', ['/run/my redis.sock', 0, '', 'secret', 2]];
    }

    public function testTlsParametersAreThoseOfThePythonClient(): void
    {
        $dsn = Dsn::parse('rediss://redis?ssl_ca_certs=' . __FILE__ . '&ssl_cert_reqs=none');
        $expected = ['cafile' => __FILE__, 'verify_peer' => false, 'verify_peer_name' => false];
        self::assertSame($expected, $dsn->tls);
        self::assertSame([], Dsn::parse('rediss://redis?ssl_cert_reqs=required')->tls);
        self::assertSame([], Dsn::parse('rediss://redis?ssl_cert_reqs=optional')->tls);
        self::assertSame([], Dsn::parse('redis://redis?ssl_cert_reqs=&ssl_ca_certs=')->tls);
    }

    /**
     * @testWith ["rediss://r?ssl_cert_reqs=maybe", "ssl_cert_reqs is \"maybe\", and must be one of required, optional"]
     *           ["rediss://r?ssl_ca_certs=/nosuch.pem", "ssl_ca_certs is \"/nosuch.pem\", and must be a file that"]
     *           ["rediss://r?ssl_keyfile=/", "ssl_keyfile is \"/\", and must be a file"]
     *           ["redis://r?ssl_cert_reqs=none", "ssl_cert_reqs is for rediss:// only"]
     *           ["redis://:a@b@host", "rawurlencode"]
     */
    public function testAPartThatCannotBeUsedIsNamedWithWhatItMayBe(string $text, string $expected): void
    {
        $this->expectException(ConfigurationError::class);
        $this->expectExceptionMessage($expected);
        Dsn::parse($text);
    }

    /**
     * As in tests/unit/test_redis_client.py.
     *
     * @testWith ["redis://host/03", 3]
     *           ["redis://host/3/", 3]
     *           ["redis://host/%33", 3]
     *           ["redis://host//3", 3]
     *           ["redis://host/first?db=3", 3]
     *           ["redis://host/3?db=", 3]
     *           ["unix:///run/redis.sock?db=3", 3]
     *           ["redis://host/", 0]
     */
    public function testADatabaseIsTheOneThatThePythonClientTakes(string $text, int $database): void
    {
        self::assertSame($database, Dsn::parse($text)->database);
    }

    /**
     * @testWith ["redis://host/first"]
     *           ["redis://host/1x"]
     *           ["redis://host/-1"]
     *           ["redis://host/1/2"]
     *           ["redis://host/1%0a"]
     *           ["redis://host/1234567"]
     *           ["redis://host?db=-1"]
     *           ["redis://host/1?db=first"]
     *           ["unix:///run/redis.sock?db=-1"]
     */
    public function testADatabaseThatIsNoNumberIsNamedAsTheFault(string $text): void
    {
        $this->expectException(ConfigurationError::class);
        $this->expectExceptionMessage('the database is not a number');
        Dsn::parse($text);
    }

    /**
     * @dataProvider unreadable
     */
    public function testAnUnreadableDsnIsRefusedWithoutItsPassword(string $text): void
    {
        try {
            Dsn::parse($text);
            self::fail('It was taken');
        } catch (ConfigurationError $error) {
            self::assertStringNotContainsString('secret', $error->getMessage());
            self::assertStringContainsString('redis://[user[:password]@]host:port/db', $error->getMessage());
        }
    }

    public static function unreadable(): iterable
    {
        yield [''];
        yield ['127.0.0.1:6379'];
        yield ['tcp://:secret@127.0.0.1:6379'];
        yield ['redis://:secret@redis:99999'];
        yield ['redis://:secret@redis/zero'];
        yield ['redis://:sec@ret@redis'];
        yield ['redis://:secret@redis?timeout=3'];
        yield ['unix://:secret@'];
        yield ['unix://host/run/redis.sock'];
        yield 'of which C would read the beginning' => ["redis://:secret@127.0.0.1\0.example:7611"];
    }

    public function testAnEmptyDsnSaysThatItIsAndWhereItMayComeFrom(): void
    {
        $this->expectException(ConfigurationError::class);
        $this->expectExceptionMessageMatches('/it is empty; perhaps RESIDENT_REDIS_URL is not set .*clear_env/');
        Dsn::parse('');
    }

    public function testAMessageAndADumpShowThePlaceAndNoPassword(): void
    {
        $dsn = Dsn::parse('redis://asker:secret@redis:6379/1');
        self::assertSame('redis:6379', $dsn->place());
        self::assertStringNotContainsString('secret', print_r($dsn, true));
        self::assertStringNotContainsString('secret', var_export($dsn, true));
    }
}
