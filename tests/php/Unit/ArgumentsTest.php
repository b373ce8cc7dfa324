<?php

declare(strict_types=1);

namespace Resident\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Resident\Cli\Arguments;
use Resident\Cli\Usage;

final class ArgumentsTest extends TestCase
{
    /**
     * @dataProvider right
     * @param list<string> $words
     * @param array{string, string, bool, ?int} $expected
     */
    public function testARightCommandLineIsRead(array $words, array $expected): void
    {
        $read = Arguments::read($words);
        self::assertSame($expected, [$read->task, $read->question, $read->isJson, $read->budgetMs]);
    }

    /**
     * @dataProvider lanes
     * @param list<string> $words
     * @param array{string, string} $expected
     */
    public function testAPriorityAndATenantAreRead(array $words, array $expected): void
    {
        $read = Arguments::read([...$words, 'faq', 'x']);
        self::assertSame($expected, [$read->priority, $read->tenant]);
    }

    public static function lanes(): iterable
    {
        yield [[], ['normal', '']];
        yield [['--priority', 'high'], ['high', '']];
        yield [['--priority=low', '--tenant=店铺 1'], ['low', '店铺 1']];
        yield [['--tenant', '--x='], ['normal', '--x=']];
        yield [['--tenant='], ['normal', '']];
    }

    public static function right(): iterable
    {
        yield [['faq', '几点开门？'], ['faq', '几点开门？', false, null]];
        yield [['--json', 'faq', '-'], ['faq', '-', true, null]];
        yield [['faq', '--budget', '250', 'x'], ['faq', 'x', false, 250]];
        yield [['--budget=250', 'faq', 'x', '--json'], ['faq', 'x', true, 250]];
        yield [['--', 'faq', '--json'], ['faq', '--json', false, null]];
        yield [['faq', ''], ['faq', '', false, null]];
    }

    /**
     * @dataProvider wrong
     * @param list<string> $words
     */
    public function testAWrongCommandLineIsRefused(array $words): void
    {
        $this->expectException(Usage::class);
        Arguments::read($words);
    }

    public static function wrong(): iterable
    {
        yield [[]];
        yield [['faq']];
        yield [['faq', 'two', 'three']];
        yield [['--budget', 'faq', 'x']];
        yield [['faq', 'x', '--budget']];
        yield [['--budget=-1', 'faq', 'x']];
        yield [['--budget=0', 'faq', 'x']];
        yield [['--budget=86400001', 'faq', 'x']];
        yield [['--budget=1e3', 'faq', 'x']];
        yield [['-j', 'faq', 'x']];
        yield [['--priority=urgent', 'faq', 'x']];
        yield [['--priority', 'faq', 'x']];
        yield [['faq', 'x', '--priority']];
        yield [['faq', 'x', '--tenant']];
    }
}
