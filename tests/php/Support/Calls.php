<?php

declare(strict_types=1);

namespace Resident\Tests\Support;

use Resident\Answer;
use Resident\Client;
use Resident\Exception\ResidentException;

/**
 * The steps of a scenario that call a client, as tests/support/scenarios.py has them; a new kind of
 * call is a line of `call`.
 */
final class Calls
{
    public const NAMES = ['ask', 'ask_many', 'submit', 'wait'];

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
        return match ($step->do) {
            'ask' => self::outcome($client->ask($step->task, $question, $budgetMs, $step->id ?? null)),
            'ask_many' => ['outcomes' => array_map(
                self::outcome(...),
                $client->askMany($step->task, Vectors::valueOf($step->questions), $budgetMs)
            )],
            'submit' => ['id' => $client->submit($step->task, $question, $budgetMs, $step->id ?? null)],
            'wait' => self::outcome($client->wait($step->id, $budgetMs)),
        };
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
