<?php

declare(strict_types=1);

namespace Resident;

use Resident\Exception\ConfigurationError;
use Resident\Wire\Json;

/**
 * A number that a caller gives, or an operator sets in a variable; resident/settings.py reads it alike.
 *
 * @internal
 */
final class Setting
{
    private const WHOLE = '/\A\s*[+-]?\d+(?:_\d+)*(?:\.0+)?\s*\z/';
    private const NUMBER = '/\A\s*[+-]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*\z/';

    public function __construct(
        private readonly string $variable,
        private readonly int $default,
        private readonly int $low,
        private readonly int $high,
    ) {
    }

    /**
     * What is given, else what the variable says, else the default.
     *
     * @param string $option How the caller calls it.
     * @throws ConfigurationError It is no whole number, or out of its range.
     */
    public function whole(string $option, ?int $given): int
    {
        return (int) ($this->checked($option, $given) ?? $this->inEnvironment(self::WHOLE, 'an integer'));
    }

    /**
     * The same for one that need not be whole.
     *
     * @throws ConfigurationError
     */
    public function number(string $option, ?float $given): float
    {
        return (float) ($this->checked($option, $given) ?? $this->inEnvironment(self::NUMBER, 'a number'));
    }

    private function checked(string $option, int|float|null $given): int|float|null
    {
        if ($given !== null && !($given >= $this->low && $given <= $this->high)) { // NAN is neither
            throw new ConfigurationError("$option is $given; it must be from $this->low to $this->high");
        }
        return $given;
    }

    private function inEnvironment(string $pattern, string $kind): float
    {
        $text = (string) getenv($this->variable);
        if ($text === '') { // so php-fpm passes on what it has not got
            return $this->default;
        }
        $value = (float) str_replace('_', '', $text);
        $fault = match (true) {
            preg_match($pattern, $text) !== 1
                => 'a valid ' . explode(' ', $kind)[1] . ", unable to parse string as $kind",
            $value < $this->low => "greater than or equal to $this->low",
            $value > $this->high => "less than or equal to $this->high",
            default => null,
        };
        return $fault === null ? $value : throw new ConfigurationError(
            "$this->variable='" . substr(Json::quote($text), 1, -1)
                . "': input should be $fault (from $this->low to $this->high)"
        );
    }
}
