<?php

declare(strict_types=1);

namespace Resident\Wire;

use Resident\Exception\CallerError;
use Resident\Exception\Errors;

/**
 * A question as RQ job data: `["tasks.faq.answer",null,["…"],{}]`.
 *
 * @internal
 */
final class JobData
{
    /**
     * The dotted name that RQ knows the task's function by.
     */
    public static function functionName(string $task): string
    {
        return "tasks.$task.answer";
    }

    /**
     * @throws CallerError invalid_question, if the question is no JSON value, is nested too
     *     deeply, or is longer than $maxBytes as JSON
     */
    public static function encode(
        string $task,
        #[\SensitiveParameter] mixed $question,
        int $maxBytes,
    ): string {
        $json = self::encodeQuestion($question, $maxBytes);
        $size = strlen($json);
        if ($size > $maxBytes) {
            throw Errors::invalidQuestion(
                "The question has $size bytes of JSON; at most $maxBytes are taken"
            );
        }
        return '["' . self::functionName($task) . "\",null,[$json],{}]";
    }

    private static function encodeQuestion(#[\SensitiveParameter] mixed $question, int $maxBytes): string
    {
        JsonValue::check($question, $maxBytes);
        try {
            return Json::encode($question, JsonValue::MAX_DEPTH);
        } catch (\JsonException $error) {
            throw JsonValue::isNone(lcfirst($error->getMessage()));
        } catch (\Throwable $error) {
            // An object's own jsonSerialize may throw anything; so may a signal handler, for somebody else.
            throw JsonValue::encodesItself($question)
                ? JsonValue::isNone(lcfirst($error->getMessage()), $error)
                : $error;
        }
    }
}
