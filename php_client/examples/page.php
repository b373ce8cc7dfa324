<?php

// A page under php-fpm: page.php?question=…
//
// Over persistent connections an answer could reach another request than the one that asked. So
// this page asks `echo` for a number that nobody else has, and checks that it comes back;
// `script/bench --only fpm` calls it 100,000 times. Your own page leaves that out.

declare(strict_types=1);

use Resident\Client;
use Resident\Exception\ResidentException;
use Resident\Exception\TryAgain;

require __DIR__ . '/../autoload.php';

// A function, not an object: the client calls it again when a connection turns out to be dead.
$connect = static function (): Redis {
    $redis = new Redis();
    $host = getenv('REDIS_HOST') ?: '127.0.0.1'; // or the path of a socket
    $port = (int) (getenv('REDIS_PORT') ?: 6379);
    $redis->pconnect($host, str_starts_with($host, '/') ? 0 : $port, 1.0);
    try {
        $password = getenv('REDIS_PASSWORD') ?: '';
        $isIn = $password === '' || $redis->auth([getenv('REDIS_USER') ?: 'default', $password]);
    } catch (RedisException $error) {
        $isIn = false;
    }
    if (!$isIn) {
        $redis->close(); // or it would be kept, and fail the next request as well
        throw new RedisException(isset($error) ? $error->getMessage() : 'Redis refused the password');
    }
    return $redis;
};

// RESIDENT_REDIS_URL is a DSN: a connection of this request's own.
$client = new Client(getenv('RESIDENT_REDIS_URL') ?: $connect);
$nonce = bin2hex(random_bytes(8));
$question = is_string($_GET['question'] ?? null) ? $_GET['question'] : '';
$budgetMs = max(1, min(5_000, (int) ($_GET['budget_ms'] ?? 5_000)));

header('Content-Type: text/plain; charset=utf-8');
try {
    $answer = (string) $client->ask('echo', "$question $nonce", $budgetMs)->answer;
    if ($answer !== "$question $nonce") {
        http_response_code(500);
        error_log("mismatch: the answer of another question than $nonce came");
    }
    echo $answer, "\n";
} catch (ResidentException $error) {
    http_response_code($error->code()->httpStatus());
    if ($error instanceof TryAgain) {
        header('Retry-After: 1');
    }
    echo $error->code()->value, "\n";
}
