<?php

declare(strict_types=1);

namespace Resident\Exception;

/**
 * Nobody has to act: the same question may be answered a little later.
 */
class TryAgain extends \RuntimeException implements ResidentException
{
    use NamesQuestion;
}
