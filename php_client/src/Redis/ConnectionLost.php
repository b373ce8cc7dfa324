<?php

declare(strict_types=1);

namespace Resident\Redis;

/**
 * Redis could not be reached, or did not answer; the connection must not be used again.
 *
 * @internal
 */
final class ConnectionLost extends \RuntimeException
{
}
