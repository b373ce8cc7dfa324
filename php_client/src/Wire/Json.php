<?php

declare(strict_types=1);

namespace Resident\Wire;

/**
 * JSON as both languages write it: UTF-8 unescaped, 1.0 stays a float.
 *
 * @internal
 */
final class Json
{
    private const FLAGS = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES
        | JSON_UNESCAPED_LINE_TERMINATORS | JSON_PRESERVE_ZERO_FRACTION | JSON_THROW_ON_ERROR;
    /**
     * PHP's default of serialize_precision.
     */
    private const AS_MANY_AS_NEEDED = '-1';

    /**
     * Floats with as many digits as they need, whatever php.ini says.
     *
     * @throws \JsonException
     */
    public static function encode(#[\SensitiveParameter] mixed $value, int $maxDepth = 512): string
    {
        $digits = (string) ini_get('serialize_precision');
        $isOff = $digits !== self::AS_MANY_AS_NEEDED && function_exists('ini_set');
        if ($isOff) {
            ini_set('serialize_precision', self::AS_MANY_AS_NEEDED);
        }
        try {
            return json_encode($value, self::FLAGS, max(1, $maxDepth));
        } finally {
            if ($isOff) {
                ini_set('serialize_precision', $digits);
            }
        }
    }

    /**
     * For people: bytes that are not UTF-8 become U+FFFD.
     */
    public static function encodeAnyhow(mixed $value): string
    {
        return json_encode($value, self::FLAGS | JSON_INVALID_UTF8_SUBSTITUTE);
    }

    /**
     * A word of the caller's as a message may quote it.
     */
    public static function quote(string $word): string
    {
        return self::encodeAnyhow(substr($word, 0, 80));
    }

    /**
     * JSON objects become arrays with string keys, whole numbers beyond PHP's own strings of their digits.
     *
     * @throws \JsonException
     */
    public static function decode(string $json): mixed
    {
        return json_decode($json, true, 512, JSON_THROW_ON_ERROR | JSON_BIGINT_AS_STRING);
    }
}
