<?php

declare(strict_types=1);

namespace Resident\Tests\Support;

/**
 * The vectors that tests/contract/test_vectors.py reads too.
 */
final class Vectors
{
    public static function read(string $name): \stdClass
    {
        $json = file_get_contents(dirname(__DIR__, 2) . "/contract/vectors/$name.json");
        return json_decode($json, false, 512, JSON_THROW_ON_ERROR);
    }

    /**
     * @return iterable<string, array{\stdClass}>
     */
    public static function cases(string $file, string $section, string $key = 'name'): iterable
    {
        foreach (self::read($file)->$section as $case) {
            yield (string) $case->$key => [$case];
        }
    }

    /**
     * @return iterable<array{mixed}>
     */
    public static function values(string $file, string $section): iterable
    {
        foreach (self::read($file)->$section as $written) {
            yield [self::valueOf($written)];
        }
    }

    /**
     * The value of its form in the vectors; see "about" in jobs.json.
     */
    public static function valueOf(mixed $written): mixed
    {
        if (is_array($written)) {
            return array_map(self::valueOf(...), $written);
        }
        if (!$written instanceof \stdClass) {
            return $written;
        }
        $items = get_object_vars($written);
        $content = reset($items);
        return match (key($items)) {
            '$bytes' => hex2bin($content),
            '$float' => ['nan' => NAN, 'inf' => INF, '-inf' => -INF][$content],
            '$repeat' => str_repeat($content[0], $content[1]),
            '$nested' => self::nested($content[0], $content[1]),
            '$object' => self::fromPairs($content),
            '$concat' => implode('', array_map(self::valueOf(...), $content)),
            default => self::object($items),
        };
    }

    private static function nested(int $levels, mixed $value): mixed
    {
        while ($levels-- > 0) {
            $value = [$value];
        }
        return $value;
    }

    /**
     * @param list<array{mixed, mixed}> $pairs
     * @return array<mixed>
     */
    private static function fromPairs(array $pairs): array
    {
        $object = [];
        foreach ($pairs as [$key, $value]) {
            $object[self::valueOf($key)] = self::valueOf($value);
        }
        return $object;
    }

    /**
     * An array with keys, as PHP callers write objects; stdClass where that would be a list.
     *
     * @param array<mixed> $items
     * @return array<mixed>|\stdClass
     */
    private static function object(array $items): array|\stdClass
    {
        $values = array_map(self::valueOf(...), $items);
        return array_is_list($values) ? (object) $values : $values;
    }
}
