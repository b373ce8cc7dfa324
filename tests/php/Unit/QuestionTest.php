<?php

declare(strict_types=1);

namespace Resident\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Resident\ErrorCode;
use Resident\Exception\CallerError;
use Resident\Options;
use Resident\Wire\JobData;
use Resident\Wire\JsonValue;
use Resident\Wire\Question;

/**
 * What only PHP has; the vectors hold the rest.
 */
final class QuestionTest extends TestCase
{
    /**
     * @dataProvider valuesWithoutForm
     */
    public function testAValueWithoutAJsonFormIsRefusedByItsType(mixed $value, string $type): void
    {
        foreach ([$value, ['deep' => [$value]], (object) ['in' => $value]] as $question) {
            try {
                self::question($question);
                self::fail('It was taken');
            } catch (CallerError $error) {
                self::assertStringContainsString("not a JSON value: $type", $error->getMessage());
            }
        }
    }

    public static function valuesWithoutForm(): iterable
    {
        yield [static fn () => 1, 'Closure'];
        yield [(static fn () => yield 1)(), 'Generator'];
        yield [STDIN, 'resource (stream)'];
        yield [new \SplObjectStorage(), 'SplObjectStorage without'];
        yield [new class () {
            private int $hidden = 1;
        }, 'class@anonymous without'];
        yield [NAN, 'NAN'];
    }

    public function testWhatHasAJsonFormIsTaken(): void
    {
        $question = [new \stdClass(), new \DateTimeImmutable('2026-11-24 UTC'), ErrorCode::Expired, true, null];
        self::assertSame(json_encode($question), json_encode(json_decode(self::question($question)->data())[2][0]));
    }

    public function testAnObjectThatFailsToEncodeIsRefusedWithItsReason(): void
    {
        $reason = new \LogicException('Not today');
        try {
            self::question(new class ($reason) implements \JsonSerializable {
                public function __construct(private readonly \LogicException $reason)
                {
                }

                public function jsonSerialize(): never
                {
                    throw $this->reason;
                }
            });
            self::fail('It was taken');
        } catch (CallerError $error) {
            self::assertStringContainsString('not a JSON value: not today', $error->getMessage());
            self::assertSame($reason, $error->getPrevious());
        }
    }

    public function testOnlyAnObjectThatEncodesItselfMayBeToBlame(): void
    {
        $own = new class implements \JsonSerializable {
            public function jsonSerialize(): mixed
            {
                return 1;
            }
        };
        self::assertTrue(JsonValue::encodesItself(['a' => [(object) ['b' => $own]]]));
        self::assertFalse(JsonValue::encodesItself(['a' => [new \stdClass(), 1.5, 'b', null]]));
    }

    /**
     * @dataProvider badBytes
     */
    public function testBytesThatAreNoTextAreRefusedWithTheirPlace(mixed $value, string $expected): void
    {
        $this->expectException(CallerError::class);
        $this->expectExceptionMessage("$expected is not UTF-8 from its byte 1 on (counted from 0)");
        self::question($value);
    }

    public static function badBytes(): iterable
    {
        yield ["a\xff", ': a string'];
        yield [['items' => ['x', ['名' => "a\xff"]]], ': a string at "/items/1/名"'];
        yield [(object) ['text' => "a\xff"], ': a string at "/text"'];
        yield [['list' => ["a\xff" => 1]], ': a key at "/list"'];
    }

    public function testAnArrayThatHoldsItselfIsRefused(): void
    {
        $list = [];
        $list[] = &$list;
        $this->assertRefused($list);
    }

    public function testArraysThatShareTheirItemsAreNotLookedThroughForEver(): void
    {
        $question = 'x';
        for ($level = 0; $level < 60; $level++) {
            $question = [$question, $question];
        }
        $this->expectException(CallerError::class);
        $this->expectExceptionMessage('more values than bytes of JSON are taken');
        self::question($question);
    }

    public function testAsManyValuesAsThereAreBytesMayBeAsked(): void
    {
        $options = new Options(maxQuestionBytes: 65);
        $question = Question::of('faq', array_fill(0, 32, 1), null, 1000, $options);
        self::assertSame(32, substr_count($question->data(), '1'));
        $this->expectExceptionMessage('The question has 67 bytes of JSON; at most 65 are taken');
        Question::of('faq', array_fill(0, 33, 1), null, 1000, $options);
    }

    public function testAnObjectThatHoldsItselfIsRefused(): void
    {
        $object = new \stdClass();
        $object->self = $object;
        $this->assertRefused($object);
    }

    public function testAnObjectIsEncodedAsJsonEncodeDoes(): void
    {
        $question = new class () {
            public string $text = '你好';
            public ErrorCode $code = ErrorCode::Expired;
        };
        self::assertSame(
            '["tasks.echo.answer",null,[{"text":"你好","code":"expired"}],{}]',
            JobData::encode('echo', $question, 1000)
        );
    }

    public function testTheTextIsInDataAndNowhereElse(): void
    {
        $question = self::question('private words');
        self::assertStringContainsString('private', $question->data());
        foreach ([print_r($question, true), var_export($question, true), print_r((array) $question, true)] as $shown) {
            self::assertStringNotContainsString('private', $shown);
        }
    }

    public function testAFloatHasAsManyDigitsAsItNeedsWhateverPhpIniSays(): void
    {
        $before = (string) ini_set('serialize_precision', '5');
        try {
            self::assertSame('["tasks.echo.answer",null,[0.123456789],{}]', JobData::encode('echo', 0.123456789, 99));
            self::assertSame('5', ini_get('serialize_precision'));
        } finally {
            ini_set('serialize_precision', $before);
        }
    }

    public function testEveryQuestionHasAnIdOfItsOwn(): void
    {
        [$first, $second] = [self::question('a'), self::question('a')];
        self::assertMatchesRegularExpression('/\A[0-9a-f]{32}\z/', $first->id);
        self::assertNotSame($first->id, $second->id);
        self::assertFalse($first->isShared);
    }

    private static function question(mixed $value): Question
    {
        return Question::of('echo', $value, null, 5000, new Options());
    }

    private function assertRefused(mixed $value): void
    {
        $this->expectException(CallerError::class);
        $this->expectExceptionMessage('The question is not a JSON value');
        self::question($value);
    }
}
