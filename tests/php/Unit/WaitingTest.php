<?php

declare(strict_types=1);

namespace Resident\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Resident\Deadline;
use Resident\Log;
use Resident\Redis\ConnectionLost;
use Resident\Redis\Link;
use Resident\Redis\Source;
use Resident\Tests\Support\Memory;
use Resident\Waiting;

final class WaitingTest extends TestCase
{
    /**
     * Its answer may still come there, and the next question would read it.
     */
    public function testALoggerThatThrowsLeavesNoLostConnectionInUse(): void
    {
        $source = $this->createMock(Source::class);
        $source->method('link')->willReturn(new Link(new \Redis()));
        $source->method('canReopen')->willReturn(true);
        $source->expects(self::once())->method('drop');
        $waiting = new Waiting($source, new Log(Memory::logger(new \LogicException('The disk is full'))));
        $this->expectExceptionMessage('The disk is full');
        $waiting->untilSomething(Deadline::in(1_000), static fn () => throw new ConnectionLost('it broke off'));
    }
}
