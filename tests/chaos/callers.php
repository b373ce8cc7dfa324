<?php

/**
 * One caller of the chaos test: asks what standard input lists, one JSON object a line, and writes
 * one JSON line for each question that it asked.
 *
 *     php tests/chaos/callers.php SECONDS    asks nothing new after so many
 */

declare(strict_types=1);

// phpcs:disable PSR1.Files.SideEffects -- a program with its functions

use Resident\Client;
use Resident\ErrorCode;
use Resident\Exception\ResidentException;

require __DIR__ . '/../../php_client/autoload.php';

const PAUSE_US = 50_000;

function nowMs(): float
{
    return hrtime(true) / 1e6;
}

/**
 * Whether the same question may do better in a moment, under the same id.
 */
function mayRepeat(ErrorCode $code): bool
{
    return in_array($code, [ErrorCode::TransportError, ErrorCode::NoWorker, ErrorCode::Overloaded], true);
}

/**
 * @param array<string, mixed> $order
 * @return array<string, mixed>
 */
function askOnce(Client $client, array $order, int $budgetMs): array
{
    try {
        $answer = $client->ask('chaos', $order['value'], $budgetMs, $order['id'] ?: null);
        return ['outcome' => 'answered', 'id' => $answer->id, 'answer' => $answer->answer];
    } catch (ResidentException $error) {
        return ['outcome' => $error->code()->value, 'id' => $error->id()];
    } catch (Throwable $error) {
        return ['outcome' => get_class($error) . ': ' . $error->getMessage(), 'id' => $order['id']];
    }
}

/**
 * @param array<string, mixed> $order
 * @return array<string, mixed>
 */
function ask(Client $client, array $order): array
{
    $deadlineMs = nowMs() + $order['budget_ms'];
    $asks = 0;
    do {
        $asks++;
        $outcome = askOnce($client, $order, max(1, (int) ($deadlineMs - nowMs())));
        $code = ErrorCode::tryFrom($outcome['outcome']);
        $isOver = $order['id'] === '' || $code === null || !mayRepeat($code);
        $isOver || usleep(PAUSE_US);
    } while (!$isOver && nowMs() < $deadlineMs);
    return $outcome + ['asks' => $asks];
}

$client = new Client((string) getenv('RESIDENT_REDIS_URL'));
$beganMs = nowMs();
$lastMs = 1000 * (float) $argv[1];
while (($line = fgets(STDIN)) !== false && nowMs() - $beganMs < $lastMs) {
    $order = json_decode($line, true, flags: JSON_THROW_ON_ERROR);
    usleep((int) (1000 * max(0, $beganMs + $order['at_ms'] - nowMs())));
    $outcome = ask($client, $order);
    if ($order['is_repeated'] && !in_array($outcome['outcome'], ['expired', 'transport_error'], true)) {
        $outcome['second'] = ask($client, $order)['outcome'];
    }
    echo json_encode(['number' => $order['number']] + $outcome, JSON_THROW_ON_ERROR), "\n";
}
