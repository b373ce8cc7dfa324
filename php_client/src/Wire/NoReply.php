<?php

declare(strict_types=1);

namespace Resident\Wire;

/**
 * What came is no reply to this question in a version that we read.
 *
 * @internal
 */
final class NoReply extends \UnexpectedValueException
{
}
