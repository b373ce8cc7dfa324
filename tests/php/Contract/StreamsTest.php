<?php

declare(strict_types=1);

namespace Resident\Tests\Contract;

use PHPUnit\Framework\TestCase;
use Resident\Exception\ResidentException;
use Resident\Tests\Support\Vectors;
use Resident\Wire\NoReply;
use Resident\Wire\StreamReader;

final class StreamsTest extends TestCase
{
    /**
     * @dataProvider whole
     */
    public function testAStreamBecomesItsDeltasAndItsAnswer(\stdClass $case): void
    {
        [$reader, $deltas, $error] = self::read($case);
        self::assertSame([$case->deltas, null], [$deltas, $error]);
        self::assertSame(implode('', $deltas), $reader->text());
        $expected = json_decode((string) json_encode($case->answer, JSON_PRESERVE_ZERO_FRACTION), true);
        self::assertSame($expected, $reader->answer()?->answer);
        self::assertNotNull($reader->answer());
    }

    /**
     * @dataProvider errors
     */
    public function testAStreamThatBreaksOffKeepsWhatCame(\stdClass $case): void
    {
        [$reader, $deltas, $error] = self::read($case);
        self::assertInstanceOf(ResidentException::class, $error);
        self::assertSame($case->code, $error->code()->value);
        self::assertSame([$case->deltas, null], [$deltas, $reader->answer()]);
        self::assertSame(implode('', $deltas), $reader->text());
    }

    /**
     * @dataProvider malformed
     */
    public function testWhatDoesNotComeNextOfAStreamIsRefused(\stdClass $case): void
    {
        [$reader, $deltas, $error] = self::read($case);
        self::assertInstanceOf(NoReply::class, $error);
        self::assertSame([$case->deltas, null], [$deltas, $reader->answer()]);
        self::assertSame(implode('', $deltas), $reader->text());
    }

    public static function whole(): iterable
    {
        return Vectors::cases('streams', 'whole');
    }

    public static function errors(): iterable
    {
        return Vectors::cases('streams', 'errors');
    }

    public static function malformed(): iterable
    {
        return Vectors::cases('streams', 'malformed');
    }

    /**
     * What a reader makes of a stream, delta by delta, and what ended it if not its reply.
     *
     * @return array{StreamReader, list<string>, ?\Exception}
     */
    private static function read(\stdClass $case): array
    {
        $reader = new StreamReader(Vectors::read('streams')->id);
        $deltas = [];
        $isDelta = static fn (string $delta): bool => $delta !== '';
        foreach ($case->payloads as $payload) {
            self::assertNull($reader->answer());
            try {
                $deltas[] = $reader->read(Vectors::valueOf($payload));
            } catch (NoReply | ResidentException $error) {
                return [$reader, array_values(array_filter($deltas, $isDelta)), $error];
            }
        }
        return [$reader, array_values(array_filter($deltas, $isDelta)), null];
    }
}
