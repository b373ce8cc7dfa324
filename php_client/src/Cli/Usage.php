<?php

declare(strict_types=1);

namespace Resident\Cli;

/**
 * The command line is wrong; the message says how.
 *
 * @internal
 */
final class Usage extends \InvalidArgumentException
{
}
