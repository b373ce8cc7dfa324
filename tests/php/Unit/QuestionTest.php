<?php

declare(strict_types=1);

namespace Resident\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Resident\ErrorCode;
use Resident\Exception\CallerError;
use Resident\Options;
use Resident\Wire\JobData;
use Resident\Wire\Question;

/**
 * What only PHP has; the vectors hold the rest.
 */
final class QuestionTest extends TestCase
{
    public function testAResourceIsRefused(): void
    {
        $this->assertRefused(STDIN);
    }

    public function testAnObjectThatFailsToEncodeIsRefused(): void
    {
        $this->assertRefused(new class () implements \JsonSerializable {
            public function jsonSerialize(): never
            {
                throw new \LogicException('not today');
            }
        });
    }

    public function testBytesInAnObjectAreRefused(): void
    {
        $this->assertRefused((object) ['text' => "\xff"]);
    }

    public function testAnArrayThatHoldsItselfIsRefused(): void
    {
        $list = [];
        $list[] = &$list;
        $this->assertRefused($list);
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
        self::assertStringContainsString('private', $question->data);
        self::assertSame([], $question->fields());
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
