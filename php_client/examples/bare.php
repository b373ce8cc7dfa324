<?php

// The whole protocol with nothing but ext-redis: no library, no Lua, no Python.
//
//     php bare.php [task] [question]
//
// RESIDENT_REDIS_URL is redis://[[user]:password@]host[:port][/db] here, percent-encoded; no TLS, no socket.
//
// A question is a job of the Python queue "RQ": a hash, and its id on a list. A worker that has
// the model in memory takes the id, and pushes the reply onto a list that we wait for. What our
// client does beside this: refuse at once when no worker is there, and ask an id only once.

declare(strict_types=1);

$task = $argv[1] ?? 'echo';
$question = $argv[2] ?? '今天几点开门？';
$budgetMs = 5000;                                 // after this nobody waits any more

$redis = new Redis();
$url = parse_url(getenv('RESIDENT_REDIS_URL') ?: 'redis://127.0.0.1:6379/0') ?: [];
$database = ltrim($url['path'] ?? '', '/');
$isTcp = ($url['scheme'] ?? '') === 'redis' && isset($url['host']);
if (!$isTcp || isset($url['query']) || isset($url['fragment']) || preg_match('/\A\d{0,6}\z/', $database) !== 1) {
    fwrite(STDERR, "RESIDENT_REDIS_URL must be redis://[[user]:password@]host[:port][/db] for this example.\n");
    exit(2);
}
$login = array_map(rawurldecode(...), array_filter([$url['user'] ?? '', $url['pass'] ?? ''], 'strlen'));
try {
    $redis->connect(trim($url['host'], '[]'), $url['port'] ?? 6379, 5.0);
    $isReady = (!$login || $redis->auth(array_values($login))) && $redis->select((int) $database);
} catch (RedisException $error) {
    $isReady = false;
}
if (!$isReady) {
    fwrite(STDERR, 'Redis: ' . (isset($error) ? $error->getMessage() : $redis->getLastError()) . "\n");
    exit(1);
}

$id = bin2hex(random_bytes(16));                  // must not be guessable: it names the reply
$now = (new DateTimeImmutable('now', new DateTimeZone('UTC')))->format('Y-m-d\TH:i:s.u\Z');
// [function, always null, [the question], always {}]; the worker runs known tasks only.
$data = json_encode(["tasks.$task.answer", null, [$question], new stdClass()]);
if ($data === false) {
    fwrite(STDERR, 'The question is no JSON value: ' . json_last_error_msg() . "\n");
    exit(2);
}
$redis->multi();                                  // all or nothing, in one round trip
$redis->hMSet("rq:job:$id", [
    'data' => $data,
    'status' => 'queued',
    'origin' => $task,                            // the queue's name is the task's name
    'description' => "tasks.$task.answer(…)",     // for `rq info` and rq-dashboard
    'created_at' => $now,
    'enqueued_at' => $now,
    'timeout' => 60,                              // seconds the model may take
    'result_ttl' => 500,                          // seconds RQ remembers the answered job
    'failure_ttl' => 604800,                      // and a failed one
    // These make a stock `rq worker` push the same replies.
    'success_callback_name' => 'resident.replies.deliver',
    'failure_callback_name' => 'resident.replies.deliver_error',
]);
$redis->pExpire("rq:job:$id", $budgetMs);         // a question that expires is never run
$redis->sAdd('rq:queues', "rq:queue:$task");
$redis->rPush("rq:queue:$task", $id);
$redis->exec();

// ext-redis must wait for the answer longer than Redis waits for the reply.
$redis->setOption(Redis::OPT_READ_TIMEOUT, $budgetMs / 1000 + 5);
$popped = $redis->blPop(["resident:reply:$id"], (int) ceil($budgetMs / 1000));
if (!$popped) {
    fwrite(STDERR, "No answer within $budgetMs ms. Is a worker running?\n");
    exit(1);
}

// {"v":1,"id":…,"ok":true,"answer":…,"ms":{"queued":…,"model":…},"batch":n}
// {"v":1,"id":…,"ok":false,"error":{"code":…,"message":…}}
$reply = json_decode($popped[1], true, 512, JSON_THROW_ON_ERROR);
if (!$reply['ok']) {
    fwrite(STDERR, "{$reply['error']['code']}: {$reply['error']['message']}\n");
    exit(1);
}
echo is_string($reply['answer']) ? $reply['answer'] : json_encode($reply['answer']), "\n";
