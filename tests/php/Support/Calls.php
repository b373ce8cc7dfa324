<?php

declare(strict_types=1);

namespace Resident\Tests\Support;

use Resident\Answer;
use Resident\Client;
use Resident\Exception\ResidentException;
use Resident\Stream;

/**
 * The steps of a scenario that call a client, as tests/support/scenarios.py has them; a new kind of
 * call is a line of `call`.
 */
final class Calls
{
    public const NAMES = ['ask', 'ask_many', 'submit', 'wait', 'cancel', 'stream'];

    private const BUDGET_MS = 5_000;

    /**
     * What came of a call, how long it took, and what it said.
     *
     * @return array<string, mixed>
     */
    public static function resultOf(string $url, \stdClass $step): array
    {
        $startNs = hrtime(true);
        try {
            $result = self::call(new Client($url), $step, Vectors::valueOf($step->budget_ms ?? self::BUDGET_MS));
        } catch (ResidentException $error) {
            $result = ['error' => $error->code()->value, 'message' => $error->getMessage()];
        } catch (\TypeError) {
            $result = ['type_error' => true];
        }
        return $result + ['took_ms' => (hrtime(true) - $startNs) / 1e6];
    }

    /**
     * @return array<string, mixed>
     */
    private static function call(Client $client, \stdClass $step, mixed $budgetMs): array
    {
        $question = Vectors::valueOf($step->question ?? null);
        $lane = array_intersect_key((array) $step, ['priority' => 0, 'tenant' => 0]);
        return match ($step->do) {
            'ask' => self::outcome($client->ask($step->task, $question, $budgetMs, $step->id ?? null, ...$lane)),
            'ask_many' => ['outcomes' => array_map(
                self::outcome(...),
                $client->askMany($step->task, Vectors::valueOf($step->questions), $budgetMs, ...$lane)
            )],
            'submit' => ['id' => $client->submit($step->task, $question, $budgetMs, $step->id ?? null, ...$lane)],
            'wait' => self::outcome($client->wait($step->id, $budgetMs)),
            'cancel' => ['cancelled' => $client->cancel($step->id)],
            'stream' => self::read($client->stream($step->task, $question, $budgetMs, ...$lane), $step),
        };
    }

    /**
     * Reads to the end, or leaves after so many deltas.
     *
     * @return array<string, mixed>
     */
    private static function read(Stream $stream, \stdClass $step): array
    {
        $most = $step->leave_after ?? PHP_INT_MAX;
        if ($most === 0) {
            $stream->leave();
            return ['deltas' => []];
        }
        $deltas = [];
        try {
            foreach ($stream as $delta) {
                $deltas[] = $delta;
                if (count($deltas) === $most) {
                    return ['deltas' => $deltas];
                }
            }
            return ['deltas' => $deltas] + self::outcome($stream->answer());
        } catch (ResidentException $error) {
            return ['deltas' => $deltas] + self::outcome($error);
        }
    }

    /**
     * @return array<string, mixed>
     */
    private static function outcome(Answer|ResidentException $outcome): array
    {
        return $outcome instanceof Answer
            ? ['answer' => $outcome->answer]
            : ['error' => $outcome->code()->value];
    }
}
