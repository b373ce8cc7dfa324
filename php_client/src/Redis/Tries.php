<?php

declare(strict_types=1);

namespace Resident\Redis;

use Resident\Deadline;
use Resident\Log;

/**
 * A kept connection may turn out to be dead, so one new one is tried, at once.
 *
 * @internal
 */
final class Tries
{
    public function __construct(private readonly Source $source, private readonly Log $log)
    {
    }

    /**
     * @template T
     * @param \Closure(Link, bool): T $call Is safe to repeat; takes whether this is the first try.
     * @return T
     * @throws ErrorReply
     * @throws ConnectionLost
     */
    public function twiceAtMost(Deadline $deadline, \Closure $call): mixed
    {
        try {
            return $call($this->source->link($deadline), true);
        } catch (ConnectionLost $loss) {
            if (!$this->source->canReopen() || $deadline->isOver()) {
                throw $loss;
            }
        }
        $place = $this->source->place();
        $this->source->drop(); // first, since a logger may throw
        $this->log->lost($place, $loss);
        return $call($this->source->link($deadline), false);
    }
}
