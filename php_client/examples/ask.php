<?php

declare(strict_types=1);

use Resident\Exception\ConfigurationError;
use Resident\Exception\ResidentException;

require __DIR__ . '/../autoload.php';

try {
    $client = new Resident\Client(getenv('RESIDENT_REDIS_URL') ?: 'redis://127.0.0.1:6379/0');
    echo $client->ask($argv[1] ?? 'echo', $argv[2] ?? '今天几点开门？'), "\n";
} catch (ResidentException | ConfigurationError $error) {
    fwrite(STDERR, "{$error->getMessage()}\n");
    exit(1);
}
