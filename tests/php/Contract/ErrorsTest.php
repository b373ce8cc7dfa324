<?php

declare(strict_types=1);

namespace Resident\Tests\Contract;

use PHPUnit\Framework\TestCase;
use Resident\ErrorCode;
use Resident\Exception\Errors;
use Resident\Exception\ResidentException;
use Resident\Exception\TryAgain;
use Resident\Tests\Support\Vectors;

final class ErrorsTest extends TestCase
{
    /**
     * @dataProvider errors
     */
    public function testACodeHasItsStatusAndClass(\stdClass $case): void
    {
        $code = ErrorCode::from($case->code);
        $error = Errors::of($code, 'What happened.', 'id-1');
        self::assertSame($case->http_status, $code->httpStatus());
        self::assertSame("Resident\\Exception\\$case->class", $error::class);
        self::assertInstanceOf(ResidentException::class, $error);
        self::assertSame(
            [$code, 'What happened.', 'id-1', $case->http_status],
            [$error->code(), $error->getMessage(), $error->id(), $error->getCode()]
        );
    }

    public function testTheVectorsKnowEveryCode(): void
    {
        $codes = array_map(static fn (ErrorCode $code): string => $code->value, ErrorCode::cases());
        self::assertSame(array_column(Vectors::read('errors')->errors, 'code'), $codes);
    }

    public function testWhoTriesAgainCatchesALostConnectionToo(): void
    {
        self::assertInstanceOf(TryAgain::class, Errors::of(ErrorCode::TransportError, 'Gone.'));
    }

    public static function errors(): iterable
    {
        return Vectors::cases('errors', 'errors', 'code');
    }
}
