<?php

declare(strict_types=1);

namespace Resident\Cli;

use Resident\Client;
use Resident\Wire\Lane;

/**
 * The command line of bin/ask, read.
 *
 * @internal
 */
final class Arguments
{
    private function __construct(
        public readonly string $task,
        public readonly string $question,
        public readonly bool $isJson,
        public readonly bool $isHelp,
        public readonly ?int $budgetMs,
        public readonly string $priority,
        public readonly string $tenant,
    ) {
    }

    /**
     * @param list<string> $words Without the name of the program.
     * @throws Usage
     */
    public static function read(array $words): self
    {
        [$isJson, $isHelp, $budgetMs, $priority, $tenant, $rest] = [false, false, null, 'normal', '', []];
        while (($word = array_shift($words)) !== null) {
            [$name, $value] = explode('=', $word, 2) + [1 => null];
            match (true) {
                $word === '--' => [$rest, $words] = [[...$rest, ...$words], []],
                $word === '--json' => $isJson = true,
                $word === '--help', $word === '-h' => $isHelp = true,
                $name === '--budget' => $budgetMs = self::budget($value ?? array_shift($words)),
                $name === '--priority' => $priority = self::priority($value ?? array_shift($words)),
                $name === '--tenant' => $tenant = $value ?? array_shift($words)
                    ?? throw new Usage('--tenant takes a text'),
                $word !== '-' && str_starts_with($word, '-') => throw new Usage("no such option: $word"),
                default => $rest[] = $word,
            };
        }
        if (count($rest) !== 2 && !$isHelp) {
            throw new Usage('it takes a task and a question');
        }
        return new self($rest[0] ?? '', $rest[1] ?? '', $isJson, $isHelp, $budgetMs, $priority, $tenant);
    }

    private static function priority(?string $value): string
    {
        if (!in_array($value, Lane::PRIORITIES, true)) {
            throw new Usage('--priority takes ' . implode(', ', Lane::PRIORITIES));
        }
        return $value;
    }

    private static function budget(?string $value): int
    {
        $range = ['min_range' => 1, 'max_range' => Client::MAX_BUDGET_MS];
        $budgetMs = filter_var($value, FILTER_VALIDATE_INT, ['options' => $range]);
        if ($budgetMs === false) {
            throw new Usage('--budget takes a whole number of milliseconds from 1 to ' . Client::MAX_BUDGET_MS);
        }
        return $budgetMs;
    }
}
