<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Tests\Support\Scene;
use Resident\Tests\Support\Server;
use Resident\Tests\Support\Vectors;

/**
 * The scenarios that Python's clients play too.
 */
final class ScenariosTest extends TestCase
{
    private const BROKEN = [
        'says nothing' => 'RESIDENT_SILENT_URL',
        'breaks off the ask' => 'RESIDENT_ASK_BREAKS_URL',
        'breaks off the reply' => 'RESIDENT_REPLY_BREAKS_URL',
        'refuses without its numbers' => 'RESIDENT_HALF_REFUSAL_URL',
        'answers something else' => 'RESIDENT_OTHER_ANSWER_URL',
    ];

    /**
     * @dataProvider scenarios
     */
    public function testScenario(\stdClass $scenario): void
    {
        $server = match ($scenario->redis) {
            'served' => Server::served(),
            'told' => Server::told(),
            'spare' => Server::spare(),
            default => null,
        };
        $variable = self::BROKEN[$scenario->redis] ?? null;
        $url = $server?->url ?? ($variable === null ? 'unix:///there/is/no/redis.sock' : getenv($variable));
        (new Scene($url, $server?->redis))->play($scenario->steps);
        $this->addToAssertionCount(1);
    }

    public static function scenarios(): iterable
    {
        return Vectors::cases('scenarios', 'scenarios');
    }
}
