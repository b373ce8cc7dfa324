<?php

declare(strict_types=1);

namespace Resident\Tests\Contract;

use PHPUnit\Framework\TestCase;
use Resident\ErrorCode;
use Resident\Exception\CallerError;
use Resident\Tests\Support\Vectors;
use Resident\Wire\Lane;

final class LanesTest extends TestCase
{
    /**
     * @dataProvider lanes
     */
    public function testAPriorityAndATenantMakeALane(\stdClass $case): void
    {
        self::assertSame($case->lane, Lane::of($case->priority, $case->tenant));
    }

    public static function lanes(): iterable
    {
        return Vectors::cases('lanes', 'lanes');
    }

    /**
     * @dataProvider invalidPriorities
     */
    public function testAPriorityThatIsNoneIsRefusedAndTheThreeAreNamed(string $priority): void
    {
        try {
            Lane::of($priority, 'acme');
            self::fail('It was taken');
        } catch (CallerError $error) {
            self::assertSame(ErrorCode::InvalidQuestion, $error->code());
            self::assertStringContainsString('high, normal, low', $error->getMessage());
        }
    }

    public static function invalidPriorities(): iterable
    {
        return Vectors::values('lanes', 'invalid_priorities');
    }
}
