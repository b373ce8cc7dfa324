<?php

// A request that is ended in the middle of a call: by PHP's max_execution_time of a second, which counts
// what is computed and not what is waited; with ?how=wait by php-fpm's request_terminate_timeout; with
// ?how=memory by PHP's memory_limit, in the middle of a reply.

declare(strict_types=1);

$computed = static function (): float {
    $used = getrusage();
    return $used['ru_utime.tv_sec'] + $used['ru_stime.tv_sec']
        + ($used['ru_utime.tv_usec'] + $used['ru_stime.tv_usec']) / 1e6;
};
$began = $computed();

require __DIR__ . '/../../php_client/examples/page.php';

if (($_GET['how'] ?? '') === 'wait') {
    $client->wait('nobody-has-asked-this', 60_000);
}
if (($_GET['how'] ?? '') === 'memory') {
    $redis = $connect();
    $redis->rawCommand('EVAL', "redis.call('RPUSH', KEYS[1], string.rep('+OK\\r\\n', 600000))
        redis.call('PEXPIRE', KEYS[1], 5000)", '1', 'resident:reply:large');
    unset($redis);
    ini_set('memory_limit', '4M');
    $client->wait('large');
}
while ($computed() - $began < 0.9) {
    continue; // nearly up
}
for ($number = 0;; $number++) {
    $client->ask('echo', "of a page that is ended, $number");
}
