<?php

declare(strict_types=1);

namespace Resident\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Resident\Answer;
use Resident\Deadline;
use Resident\Exception\ConfigurationError;
use Resident\Options;
use Resident\Wire\Reply;

final class ValuesTest extends TestCase
{
    public function testAStringAnswerIsItsOwnText(): void
    {
        self::assertSame('早上九点。', (string) new Answer('早上九点。', 'id-1', 0.1, 2.5, 1));
    }

    public function testAnotherAnswerShowsAsJson(): void
    {
        self::assertSame('{"标签":1.0}', (string) new Answer(['标签' => 1.0], 'id-1', 0.1, 2.5, 1));
    }

    public function testAWholeNumberBeyondPhpsOwnArrivesDigitByDigit(): void
    {
        $times = '"ms":{"queued":0,"model":1},"batch":1';
        $payload = '{"v":1,"id":"id-1","ok":true,"answer":[18446744073709551616],' . $times . '}';
        $answer = Reply::decode($payload, 'id-1');
        self::assertSame(['18446744073709551616'], $answer->answer);
        self::assertSame('["18446744073709551616"]', (string) $answer);
    }

    public function testThePrefixIsThatOfRqUnlessItIsGiven(): void
    {
        self::assertSame(getenv('RQ_KEY_PREFIX') ?: 'rq', (new Options())->keyPrefix);
        self::assertSame('mine', (new Options(keyPrefix: 'mine'))->keyPrefix);
    }

    public function testAPrefixMayHoldWhatRqAllows(): void
    {
        self::assertSame('{Shop_1}.a-b:rq', (new Options(keyPrefix: '{Shop_1}.a-b:rq'))->keyPrefix);
    }

    /**
     * @testWith ["a b"]
     *           [""]
     *           ["rq\n"]
     *           ["rq%s"]
     *           ["店"]
     */
    public function testAPrefixThatRqRefusesIsNamedWithWhatIsAllowed(string $prefix): void
    {
        $this->expectException(ConfigurationError::class);
        $quoted = json_encode($prefix, JSON_UNESCAPED_UNICODE);
        $this->expectExceptionMessage(
            "Invalid keyPrefix $quoted: only letters, digits, and _ . : - { } are allowed"
        );
        new Options(keyPrefix: $prefix);
    }

    public function testAVariableThatIsEmptyIsNoPrefix(): void
    {
        $before = getenv('RQ_KEY_PREFIX');
        putenv('RQ_KEY_PREFIX=');
        try {
            self::assertSame('rq', (new Options())->keyPrefix);
        } finally {
            putenv($before === false ? 'RQ_KEY_PREFIX' : "RQ_KEY_PREFIX=$before");
        }
    }

    /**
     * @dataProvider optionsOutOfRange
     * @param array<string, int|float> $options
     */
    public function testAnOptionOutOfItsRangeIsNamed(array $options): void
    {
        $this->expectException(ConfigurationError::class);
        $this->expectExceptionMessage((string) array_key_first($options));
        new Options(...$options);
    }

    public static function optionsOutOfRange(): iterable
    {
        yield [['budgetMs' => 0]];
        yield [['budgetMs' => 86_400_001]];
        yield [['maxQuestionBytes' => 63]];
        yield [['failureTtl' => -2]];
        yield [['replyTtlS' => 0.5]];
        yield [['replyTtlS' => NAN]];
        yield [['readTimeoutMs' => 0]];
    }

    public function testADeadlineCountsDownAndStopsAtZero(): void
    {
        $deadline = Deadline::in(1);
        while (($leftMs = $deadline->leftMs()) > 0) {
            self::assertSame(1, $leftMs);
        }
        self::assertTrue($deadline->isOver());
    }

    public function testNothingIsWaitedForBeyondTheBudgetAndALittle(): void
    {
        self::assertEqualsWithDelta(46, Deadline::in(1)->patienceMs(), 2);
        self::assertSame(5_000, Deadline::in(60_000)->patienceMs());
        self::assertSame(200, Deadline::in(60_000, 200)->patienceMs());
        self::assertEqualsWithDelta(60_045, Deadline::in(60_000, 200)->blockPatienceMs(), 2);
    }

    public function testABlockEndsBeforeTheBudgetDoes(): void
    {
        self::assertSame(0, Deadline::in(80)->blockMs());
        self::assertEqualsWithDelta(920, Deadline::in(1_000)->blockMs(), 2);
    }
}
