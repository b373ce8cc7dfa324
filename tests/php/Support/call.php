<?php

// One call of a scenario, in a process of its own: call.php URL, the step in standard input.

declare(strict_types=1);

use Resident\Tests\Support\Calls;

require __DIR__ . '/../bootstrap.php';

$step = json_decode((string) stream_get_contents(STDIN), false, 512, JSON_THROW_ON_ERROR);
echo json_encode(Calls::resultOf($argv[1], $step), JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION);
