<?php

// Asks over a \Redis object of the caller's: lent_connection.php DSN TASK; prints what came of it.

declare(strict_types=1);

use Resident\Client;
use Resident\Exception\ResidentException;
use Resident\Redis\Dsn;

require __DIR__ . '/../bootstrap.php';

$dsn = Dsn::parse($argv[1]);
$redis = new Redis();
$redis->connect($dsn->host, $dsn->port);
$redis->auth($dsn->password());
try {
    echo (new Client($redis))->ask($argv[2], 'x', 10_000);
} catch (ResidentException $error) {
    echo "{$error->code()->value}: {$error->getMessage()}";
}
