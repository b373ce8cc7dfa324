<?php

/**
 * Callers in PHP over one kept connection: what bench/peer.py is for Python.
 *
 *     php bench/peers/ask.php resident|bare|handing
 */

declare(strict_types=1);

// phpcs:disable PSR1.Files.SideEffects -- a program with its functions

require __DIR__ . '/../../php_client/autoload.php';

const QUESTION = '今天几点开门？';

/** @return Closure(): mixed one question to Resident through the client */
function residentAsker(): Closure
{
    $client = new Resident\Client(getenv('BENCH_URL'));
    return static fn() => $client->ask('echo', QUESTION)->answer;
}

/** A connection without the client. */
function connection(): Redis
{
    $url = parse_url(getenv('BENCH_URL'));
    $redis = new Redis();
    $redis->connect($url['host'], $url['port']);
    $redis->auth($url['pass']);
    return $redis;
}

/** @return Closure(): mixed one question to the bare loop: push and wait in one write */
function bareAsker(): Closure
{
    $redis = connection();
    return static function () use ($redis): mixed {
        $id = bin2hex(random_bytes(16));
        $pipeline = $redis->pipeline();
        $pipeline->rPush('bare:queue', "$id " . QUESTION);
        $pipeline->blPop(["bare:reply:$id"], 5);
        return $pipeline->exec()[1][1];
    };
}

/** @return Closure(): mixed one question to the floor: its script and the wait in one write */
function floorAsker(): Closure
{
    $redis = connection();
    $script = $redis->script('load', file_get_contents(__DIR__ . '/handing_ask.lua'));
    return static function () use ($redis, $script): mixed {
        $id = bin2hex(random_bytes(16));
        $question = json_encode(QUESTION, JSON_UNESCAPED_UNICODE);
        $asked = [$id, gmdate('Y-m-d\TH:i:s.000000\Z'), $question, time() + 500];
        $pipeline = $redis->pipeline();
        $pipeline->evalSha($script, $asked, 0);
        $pipeline->blPop(["floor:reply:$id"], 5);
        return json_decode($pipeline->exec()[1][1], true)['answer'];
    };
}

/** One question; the time it took, in ms. */
function trip(Closure $ask): float
{
    $began = hrtime(true);
    $answer = $ask();
    $took = (hrtime(true) - $began) / 1e6;
    if ($answer !== QUESTION) {
        throw new RuntimeException('a wrong answer: ' . json_encode($answer));
    }
    return $took;
}

/** @return list<float> */
function trips(Closure $ask, int $count, float $seconds): array
{
    $deadline = hrtime(true) + $seconds * 1e9;
    for ($times = []; count($times) < $count && hrtime(true) < $deadline;) {
        $times[] = trip($ask);
    }
    return $times;
}

function waitFor(Closure $ask): void
{
    $deadline = hrtime(true) + 30_000_000_000;
    while (true) {
        try {
            trip($ask);
            return;
        } catch (Throwable $error) {
            if (hrtime(true) > $deadline) {
                throw $error;
            }
            usleep(20_000);
        }
    }
}

$ask = match ($argv[1]) {
    'bare' => bareAsker(),
    'handing' => floorAsker(),
    'resident' => residentAsker(),
};
while (($line = fgets(STDIN)) !== false) {
    $order = json_decode($line, true, flags: JSON_THROW_ON_ERROR);
    try {
        $came = match ($order['do']) {
            'wait' => waitFor($ask),
                'trips' => trips($ask, $order['count'], $order['seconds']),
        };
    } catch (Throwable $error) {
        $came = ['error' => get_class($error) . ': ' . $error->getMessage()];
    }
    echo json_encode($came), "\n";
}
