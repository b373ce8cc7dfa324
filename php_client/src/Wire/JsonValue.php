<?php

declare(strict_types=1);

namespace Resident\Wire;

use Resident\Exception\Errors;

/**
 * Refuses, before anything is sent, what JSON has no word for.
 *
 * @internal
 */
final class JsonValue
{
    /**
     * A question that is nested deeper than this is refused, by the worker too.
     */
    public const MAX_DEPTH = 64;

    /**
     * The longest beginning of a string that is UTF-8; Source: RFC 3629, section 4.
     */
    private const VALID_BEGINNING = '/\A(?:[\x00-\x7F]++|[\xC2-\xDF][\x80-\xBF]|\xE0[\xA0-\xBF][\x80-\xBF]'
        . '|[\xE1-\xEC\xEE\xEF][\x80-\xBF]{2}|\xED[\x80-\x9F][\x80-\xBF]|\xF0[\x90-\xBF][\x80-\xBF]{2}'
        . '|[\xF1-\xF3][\x80-\xBF]{3}|\xF4[\x80-\x8F][\x80-\xBF]{2})*+/';

    public static function check(#[\SensitiveParameter] mixed $value, int $depth = 0): void
    {
        if ($depth > self::MAX_DEPTH) {
            throw self::isNone('nested deeper than ' . self::MAX_DEPTH);
        }
        match (true) {
            is_string($value) => self::checkUtf8($value),
            is_float($value) => self::checkFinite($value),
            is_array($value) => self::checkItems($value, $depth),
            default => null,
        };
    }

    /**
     * What is wrong with a value that json_encode could not encode.
     */
    public static function isNone(string $reason): \Throwable
    {
        return Errors::invalidQuestion("The question is not a JSON value: $reason");
    }

    private static function checkUtf8(#[\SensitiveParameter] string $value): void
    {
        if (preg_match('//u', $value) !== 1) {
            preg_match(self::VALID_BEGINNING, $value, $beginning);
            $offset = strlen($beginning[0] ?? '');
            throw self::isNone("a string is not UTF-8 from its byte $offset on (counted from 0)");
        }
    }

    private static function checkFinite(float $value): void
    {
        if (!is_finite($value)) {
            throw self::isNone(var_export($value, true) . ' has no JSON form');
        }
    }

    /**
     * @param array<mixed> $items
     */
    private static function checkItems(#[\SensitiveParameter] array $items, int $depth): void
    {
        foreach ($items as $name => $item) {
            if (is_string($name)) {
                self::checkUtf8($name);
            }
            self::check($item, $depth + 1);
        }
    }
}
