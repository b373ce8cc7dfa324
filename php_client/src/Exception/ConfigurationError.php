<?php

declare(strict_types=1);

namespace Resident\Exception;

/**
 * The DSN, an option or the Redis object is not one that the client can work with.
 */
final class ConfigurationError extends \InvalidArgumentException
{
}
