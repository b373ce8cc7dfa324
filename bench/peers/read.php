<?php

/**
 * Reads streams of bench/tasks/ticking.py, and prints how old each delta is when it is here.
 *
 *     php bench/peers/read.php STREAMS DELTAS
 */

declare(strict_types=1);

require __DIR__ . '/../../php_client/autoload.php';

[, $streams, $deltas] = array_map(intval(...), $argv);
$client = new Resident\Client(getenv('BENCH_URL'));
$first = $later = [];
for ($number = -10; $number < $streams; $number++) {
    foreach ($client->stream('ticking', $deltas) as $seq => $yielded) {
        $ageMs = (hrtime(true) - (int) $yielded) / 1e6;
        match (true) {
            $number < 0 => null, // to warm up
            $seq === 0 => $first[] = $ageMs,
            default => $later[] = $ageMs,
        };
    }
}
echo json_encode(['first' => $first, 'later' => $later]), "\n";
