<?php

declare(strict_types=1);

namespace Resident\Tests\Contract;

use PHPUnit\Framework\TestCase;
use Resident\Exception\ResidentException;
use Resident\Tests\Support\Vectors;
use Resident\Wire\NoReply;
use Resident\Wire\Reply;

final class RepliesTest extends TestCase
{
    /**
     * @dataProvider valid
     */
    public function testAReplyBecomesItsAnswer(\stdClass $case): void
    {
        $answer = self::decode($case);
        $expected = json_decode((string) json_encode($case->answer, JSON_PRESERVE_ZERO_FRACTION), true);
        self::assertSame($expected, $answer->answer);
        self::assertSame((float) $case->queued_ms, $answer->queuedMs);
        self::assertSame((float) $case->model_ms, $answer->modelMs);
        self::assertSame($case->batch, $answer->batch);
        self::assertSame(Vectors::read('replies')->id, $answer->id);
    }

    /**
     * @dataProvider errors
     */
    public function testAnErrorReplyBecomesTheExceptionOfItsCode(\stdClass $case): void
    {
        try {
            self::decode($case);
            self::fail('It was taken for an answer');
        } catch (ResidentException $error) {
            self::assertSame("Resident\\Exception\\$case->class", $error::class);
            self::assertSame($case->code, $error->code()->value);
            self::assertSame($case->message, $error->getMessage());
            self::assertSame(Vectors::read('replies')->id, $error->id());
        }
    }

    /**
     * @dataProvider malformed
     */
    public function testWhatIsNoReplyIsRefused(\stdClass $case): void
    {
        $this->expectException(NoReply::class);
        self::decode($case);
    }

    public static function valid(): iterable
    {
        return Vectors::cases('replies', 'valid');
    }

    public static function errors(): iterable
    {
        return Vectors::cases('replies', 'errors');
    }

    public static function malformed(): iterable
    {
        return Vectors::cases('replies', 'malformed');
    }

    private static function decode(\stdClass $case): \Resident\Answer
    {
        return Reply::decode(Vectors::valueOf($case->payload), Vectors::read('replies')->id);
    }
}
