<?php

declare(strict_types=1);

namespace Resident\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Resident\Answer;
use Resident\Exception\CallerError;
use Resident\Mailbox;
use Resident\Many;
use Resident\Options;

/**
 * Many questions and their mailbox, without a Redis.
 */
final class ManyTest extends TestCase
{
    public function testAMailboxIsOneThatWorkersHonour(): void
    {
        self::assertMatchesRegularExpression('/\Aresident:mailbox:[0-9a-f]{32}\z/', (new Mailbox())->key);
        self::assertNotSame((new Mailbox())->key, (new Mailbox())->key);
    }

    public function testAMailboxTakesEachReplyOnceAndNoOthers(): void
    {
        $mailbox = new Mailbox();
        $mailbox->expect(['a', 'b']);
        $mailbox->take(['{"id":"a","n":1}', '{', false, '{"id":"other"}', '{"id":"a","n":2}']);
        self::assertFalse($mailbox->isComplete());
        $mailbox->take(['{"id":"b"}']);
        self::assertTrue($mailbox->isComplete());
        self::assertSame(['a' => '{"id":"a","n":1}', 'b' => '{"id":"b"}'], $mailbox->payloads());
    }

    public function testOutcomesStandUnderTheKeysOfTheirQuestions(): void
    {
        $many = Many::of('echo', ['x' => 'a', 5 => "\xff", 'z' => 'c'], 1000, new Options());
        [$first, $second] = $many->open();
        $many->note($second, new Answer('C', $second, 0.0, 0.0, 1));
        self::assertSame([$first], $many->open());
        $many->note($first, new Answer('A', $first, 0.0, 0.0, 1));
        $outcomes = $many->outcomes();
        self::assertSame(['x', 5, 'z'], array_keys($outcomes));
        self::assertSame(['A', 'C'], [$outcomes['x']->answer, $outcomes['z']->answer]);
        self::assertInstanceOf(CallerError::class, $outcomes[5]);
    }
}
