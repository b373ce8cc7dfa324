<?php

declare(strict_types=1);

namespace Resident\Wire;

use Resident\Exception\CallerError;
use Resident\Exception\Errors;

/**
 * Refuses, before anything is sent, what JSON has no word for.
 *
 * @internal
 */
final class JsonValue
{
    /**
     * A question with more levels of lists and objects than this is refused, by the worker too.
     */
    public const MAX_DEPTH = 64;

    /**
     * The longest beginning of a string that is UTF-8; Source: RFC 3629, section 4.
     */
    private const VALID_BEGINNING = '/\A(?:[\x00-\x7F]++|[\xC2-\xDF][\x80-\xBF]|\xE0[\xA0-\xBF][\x80-\xBF]'
        . '|[\xE1-\xEC\xEE\xEF][\x80-\xBF]{2}|\xED[\x80-\x9F][\x80-\xBF]|\xF0[\x90-\xBF][\x80-\xBF]{2}'
        . '|[\xF1-\xF3][\x80-\xBF]{3}|\xF4[\x80-\x8F][\x80-\xBF]{2})*+/';

    /**
     * @param int $most So many values at most, each of which makes a byte of JSON and more: arrays that share
     *     their items are small in memory, and could be looked through for ever.
     * @throws CallerError
     */
    public static function check(#[\SensitiveParameter] mixed $value, int $most): void
    {
        self::checkOne($value, $most, 0, '');
    }

    /**
     * @param int $left How many more values there may be.
     * @param string $path Where the value stands in the question, for messages: `/items/0`.
     */
    private static function checkOne(
        #[\SensitiveParameter] mixed $value,
        int &$left,
        int $depth,
        string $path,
    ): void {
        if ($left-- === 0) {
            throw Errors::invalidQuestion('The question has more values than bytes of JSON are taken');
        }
        match (true) {
            is_string($value) => self::checkUtf8('a string', $value, $path),
            is_float($value) => self::checkFinite($value),
            is_array($value) => self::checkItems($value, $left, $depth, $path),
            is_object($value) => self::checkObject($value, $left, $depth, $path),
            $value === null, is_scalar($value) => null,
            default => throw self::hasNoForm(get_debug_type($value)),
        };
    }

    /**
     * Whether code of the caller's says how it or a part of it is encoded.
     */
    public static function encodesItself(#[\SensitiveParameter] mixed $value): bool
    {
        if ($value instanceof \JsonSerializable) {
            return true;
        }
        $items = is_object($value) ? get_object_vars($value) : $value;
        foreach (is_array($items) ? $items : [] as $item) {
            if (self::encodesItself($item)) {
                return true;
            }
        }
        return false;
    }

    /**
     * What is wrong with a value that json_encode could not encode.
     */
    public static function isNone(string $reason, ?\Throwable $previous = null): \Throwable
    {
        return Errors::invalidQuestion("The question is not a JSON value: $reason", $previous);
    }

    private static function checkUtf8(string $what, #[\SensitiveParameter] string $value, string $path): void
    {
        if (preg_match('//u', $value) !== 1) {
            preg_match(self::VALID_BEGINNING, $value, $beginning);
            $offset = strlen($beginning[0] ?? '');
            $at = $path === '' ? '' : ' at ' . Json::quote($path);
            throw self::isNone("$what$at is not UTF-8 from its byte $offset on (counted from 0)");
        }
    }

    private static function checkFinite(float $value): void
    {
        if (!is_finite($value)) {
            throw self::hasNoForm(var_export($value, true));
        }
    }

    /**
     * An object is encoded by itself, as its value, or as its public properties; one without any would
     * become {} and nobody would notice.
     */
    private static function checkObject(
        #[\SensitiveParameter] object $value,
        int &$left,
        int $depth,
        string $path,
    ): void {
        if ($value instanceof \JsonSerializable || $value instanceof \UnitEnum) {
            return;
        }
        $items = get_object_vars($value);
        // Some classes of PHP have properties for JSON alone, DateTime say.
        if ($items === [] && !$value instanceof \stdClass && json_encode($value) === '{}') {
            throw self::hasNoForm(get_debug_type($value) . ' without public properties');
        }
        self::checkItems($items, $left, $depth, $path);
    }

    /**
     * @param array<mixed> $items
     */
    private static function checkItems(
        #[\SensitiveParameter] array $items,
        int &$left,
        int $depth,
        string $path,
    ): void {
        if ($depth >= self::MAX_DEPTH) {
            throw self::isNone('nested deeper than ' . self::MAX_DEPTH);
        }
        foreach ($items as $name => $item) {
            if (is_string($name)) {
                self::checkUtf8('a key', $name, $path);
            }
            self::checkOne($item, $left, $depth + 1, "$path/$name");
        }
    }

    private static function hasNoForm(string $what): \Throwable
    {
        return self::isNone("$what has no JSON form");
    }
}
