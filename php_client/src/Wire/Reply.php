<?php

declare(strict_types=1);

namespace Resident\Wire;

use Resident\Answer;
use Resident\ErrorCode;
use Resident\Exception\Errors;
use Resident\Exception\ResidentException;

/**
 * A reply: one JSON object, whose every known field is checked when it is read.
 *
 * @internal
 */
final class Reply
{
    /**
     * Version of the reply format; readers accept this one and the one before.
     */
    private const VERSION = 1;

    /**
     * @throws ResidentException The error that the reply carries, of the class of its code.
     * @throws NoReply
     */
    public static function decode(string $payload, string $id): Answer
    {
        $reply = self::object($payload);
        self::checkVersionAndId($reply, $id);
        self::require(
            array_key_exists('ok', $reply) || !array_key_exists('delta', $reply),
            'this id is that of a stream, which only its reader can read'
        );
        self::require(is_bool($reply['ok'] ?? null), 'neither ok nor not');
        $answer = self::answerOf($reply, $id);
        $error = self::errorOf($reply, $id);
        if ($reply['ok'] === true) {
            return $answer ?? throw new NoReply('a reply without its answer or its times');
        }
        throw $error ?? new NoReply('an error reply without an error');
    }

    /**
     * An error reply, as workers write it.
     */
    public static function encodeError(string $id, ErrorCode $code, string $message): string
    {
        $error = ['code' => $code->value, 'message' => $message];
        return json_encode(
            ['v' => self::VERSION, 'id' => $id, 'ok' => false, 'error' => $error],
            JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES
        );
    }

    /**
     * Whose reply it is; empty if that cannot be read.
     */
    public static function idIn(string $payload): string
    {
        try {
            $reply = Json::decode($payload);
        } catch (\JsonException) {
            return '';
        }
        $id = is_array($reply) ? $reply['id'] ?? null : null;
        return is_string($id) ? $id : '';
    }

    /**
     * @return array<mixed>
     * @throws NoReply
     */
    public static function object(string $payload): array
    {
        try {
            $object = Json::decode($payload);
        } catch (\JsonException $error) {
            throw new NoReply($error->getMessage());
        }
        // Both would be a PHP array; the first byte tells an object from a list.
        self::require(is_array($object) && ltrim($payload, " \t\r\n")[0] === '{', 'not a JSON object');
        return $object;
    }

    /**
     * @param array<mixed> $reply
     * @throws NoReply
     */
    public static function checkVersionAndId(array $reply, string $id): void
    {
        $version = $reply['v'] ?? null;
        self::require(is_int($version), 'no version');
        self::require(
            $version === self::VERSION || $version === self::VERSION - 1,
            'a version that this client does not read'
        );
        self::require(($reply['id'] ?? null) === $id, 'the reply to another question');
    }

    /**
     * @param array<mixed> $reply
     */
    private static function answerOf(array $reply, string $id): ?Answer
    {
        $batch = array_key_exists('batch', $reply) ? $reply['batch'] : 1;
        self::require(is_int($batch), 'a batch that is no number');
        $ms = $reply['ms'] ?? null;
        if ($ms === null || !array_key_exists('answer', $reply)) {
            return null;
        }
        self::require(is_array($ms), 'times that are no object');
        [$queued, $model] = [$ms['queued'] ?? null, $ms['model'] ?? null];
        self::require(self::isNumber($queued) && self::isNumber($model), 'times that are no numbers');
        return new Answer($reply['answer'], $id, (float) $queued, (float) $model, $batch);
    }

    /**
     * @param array<mixed> $reply
     */
    private static function errorOf(array $reply, string $id): ?ResidentException
    {
        $error = $reply['error'] ?? null;
        if ($error === null) {
            return null;
        }
        self::require(is_array($error), 'an error that is no object');
        [$code, $message] = [$error['code'] ?? null, $error['message'] ?? null];
        self::require(is_string($code) && is_string($message), 'an error without code and message');
        // A newer worker may know more codes than this client; somebody should look at it.
        return Errors::of(ErrorCode::tryFrom($code) ?? ErrorCode::ModelError, $message, $id);
    }

    /**
     * @phpstan-assert-if-true int|float $value
     */
    private static function isNumber(mixed $value): bool
    {
        return is_int($value) || is_float($value);
    }

    /**
     * @phpstan-assert true $holds
     * @throws NoReply
     */
    private static function require(bool $holds, string $otherwise): void
    {
        if (!$holds) {
            throw new NoReply($otherwise);
        }
    }
}
