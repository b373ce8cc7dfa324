<?php

declare(strict_types=1);

namespace Resident\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Resident\Redis\ErrorReply;

final class ErrorReplyTest extends TestCase
{
    public function testWhatRedisQuotesOfAnUnknownCommandIsNotTold(): void
    {
        $told = "ERR unknown command 'AUTH', with args beginning with: 'bob' 'S3cret' ";
        self::assertSame("ERR unknown command 'AUTH'", (new ErrorReply($told))->getMessage());
    }

    /**
     * @dataProvider answers
     */
    public function testItsWordIsThatOfWhatWasMet(string $expected, string $answer): void
    {
        self::assertSame($expected, (new ErrorReply($answer))->word());
    }

    public static function answers(): iterable
    {
        $ranInto = 'ERR Error running script (call to f_4b15): @user_script:198: @user_script: 198: ';
        yield 'Redis 7' => ['OOM', "OOM command not allowed when used memory > 'maxmemory'"];
        yield 'Redis 6.2, of a script' => ['OOM', "$ranInto-OOM command not allowed"];
        yield 'a fault in a script' => ['ERR', "{$ranInto}attempt to index a nil value"];
        yield 'somebody else\'s text' => ['ERR', "ERR x $ranInto-OOM of another"];
        $mayNot = "The user executing the script can't run this command or subcommand";
        yield 'Redis 6.2, of a command that is forbidden' => ['NOPERM', $ranInto . $mayNot];
        $failure = "ERR ACL failure in script: User guest has no permissions to run the 'rpush' command";
        yield 'Redis 8, of the same' => ['NOPERM', $failure];
        yield 'Redis 7.0, of the same' => ['NOPERM', "ERR $mayNot"];
        yield 'one word' => ['NOAUTH', 'NOAUTH'];
        yield 'nothing' => ['ERR', ''];
    }
}
