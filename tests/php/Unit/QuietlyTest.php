<?php

declare(strict_types=1);

namespace Resident\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Resident\Redis\Quietly;

/**
 * What ext-redis warns of is kept; all else, of a signal handler say, is the application's.
 */
final class QuietlyTest extends TestCase
{
    /** @var list<array{int, string}> */
    private array $heard = [];

    protected function setUp(): void
    {
        set_error_handler(function (int $level, string $message): bool {
            $this->heard[] = [$level, $message];
            return true;
        });
    }

    protected function tearDown(): void
    {
        restore_error_handler();
    }

    /**
     * @dataProvider warningsOfTheApplication
     * @param \Closure(): mixed $work
     */
    public function testAWarningOfTheApplicationReachesItsHandler(\Closure $work, int $level, string $message): void
    {
        Quietly::run($work, $warning);
        self::assertSame([[$level, $message], null], [...$this->heard, $warning]);
    }

    /**
     * @return iterable<array{\Closure(): mixed, int, string}>
     */
    public static function warningsOfTheApplication(): iterable
    {
        yield 'of PHP' => [static fn () => [][0], E_WARNING, 'Undefined array key 0'];
        foreach ([E_USER_WARNING, E_USER_NOTICE, E_USER_DEPRECATED] as $level) {
            yield [static fn () => trigger_error('own', $level), $level, 'own'];
        }
        yield 'of Redis' => [static fn () => trigger_error('Redis::own', E_USER_WARNING), E_USER_WARNING, 'Redis::own'];
    }

    public function testAWarningOfExtRedisIsKeptAndReachesNobody(): void
    {
        $noName = str_repeat('x', 64); // longer than a part of a name may be
        try {
            Quietly::run(static fn () => (new \Redis())->connect($noName), $warning);
        } catch (\RedisException) {
            // It is thrown as well.
        }
        self::assertStringContainsString('Redis::connect()', $warning);
        self::assertSame([], $this->heard);
    }

    public function testAHandlerThatOnlyItsClassMayCallIsNotCalled(): void
    {
        set_error_handler([$this, 'privateHandler']);
        try {
            @Quietly::run(static fn () => trigger_error('own', E_USER_WARNING));
        } finally {
            restore_error_handler();
        }
        self::assertSame([], $this->heard);
    }

    private function privateHandler(int $level, string $message): bool
    {
        $this->heard[] = [$level, $message];
        return true;
    }
}
