<?php

declare(strict_types=1);

namespace Resident;

use Resident\Redis\ConnectionLost;
use Resident\Redis\ErrorReply;
use Resident\Redis\Link;
use Resident\Redis\Script;
use Resident\Redis\Tries;
use Resident\Wire\NoReply;
use Resident\Wire\Reply;

/**
 * Takes questions back that their callers do not want any more.
 *
 * @internal
 */
final class Cancelling
{
    // The return codes of cancel.lua.
    private const NOTHING = 0;
    private const NEVER_RUNS = 1;
    private const DROPPED = 2;

    private readonly Script $cancel;

    public function __construct(private readonly Tries $tries, private readonly Options $options)
    {
        $this->cancel = Script::of('cancel');
    }

    /**
     * Whether there was something to cancel.
     *
     * @param bool $isTold Whether the caller is told, although a connection that is lost makes it two tries; that
     *     is remembered in Redis as long as a reply is kept.
     * @throws ErrorReply
     * @throws ConnectionLost
     * @throws NoReply
     */
    public function cancel(string $id, Deadline $deadline, bool $isTold = false): bool
    {
        $token = $isTold ? bin2hex(random_bytes(16)) : '';
        $prefix = $this->options->keyPrefix;
        $keptMs = (string) (int) ($this->options->replyTtlS * 1000);
        $reply = Reply::encodeError($id, ErrorCode::Cancelled, 'The question was cancelled');
        $done = $this->tries->twiceAtMost($deadline, fn (Link $link): mixed => $this->cancel->call(
            $link,
            $deadline,
            Keys::ofCancel($prefix, $id),
            [$id, $prefix, Keys::own($prefix), $reply, $keptMs, $token],
        ));
        return match ($done) {
            self::NOTHING => false,
            self::NEVER_RUNS, self::DROPPED => true,
            default => throw new NoReply('the answer of another script than cancel.lua'),
        };
    }
}
