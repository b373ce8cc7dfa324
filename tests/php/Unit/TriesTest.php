<?php

declare(strict_types=1);

namespace Resident\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Resident\Deadline;
use Resident\Log;
use Resident\Redis\ConnectionLost;
use Resident\Redis\Link;
use Resident\Redis\Source;
use Resident\Redis\Tries;

final class TriesTest extends TestCase
{
    public function testTheSecondTryKnowsThatTheFirstMayHaveGotThrough(): void
    {
        $tries = [];
        $call = static function (Link $link, bool $isFirst) use (&$tries): string {
            $tries[] = $isFirst;
            return $isFirst ? throw new ConnectionLost('it broke off') : 'answer';
        };
        $answer = (new Tries(self::source(), new Log(null)))->twiceAtMost(Deadline::in(1_000), $call);
        self::assertSame('answer', $answer);
        self::assertSame([true, false], $tries);
    }

    private static function source(): Source
    {
        return new class implements Source {
            public function link(Deadline $deadline): Link
            {
                return new Link(new \Redis());
            }

            public function drop(): void
            {
            }

            public function release(): void
            {
            }

            public function canReopen(): bool
            {
                return true;
            }

            public function place(): string
            {
                return 'nowhere';
            }
        };
    }
}
