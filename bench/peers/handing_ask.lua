-- Hands a question to bench/peers/handing.py, from Python or from PHP.
-- KEYS: none. ARGV: id, stamp, question as JSON, expiry in s. What all jobs have in common is copied.
local job = 'rq:job:' .. ARGV[1]
if redis.call('COPY', 'floor:started', job) == 0 then
  redis.call('HSET', 'floor:started', 'status', 'started', 'origin', 'floor', 'failure_ttl', '604800',
    'description', 'tasks.floor.answer(…)', 'success_callback_name', 'resident.replies.deliver',
    'failure_callback_name', 'resident.replies.deliver_error', 'worker_name', 'resident-floor-host-1234')
  redis.call('COPY', 'floor:started', job)
end
redis.call('HSET', job, 'data', ARGV[3], 'created_at', ARGV[2], 'enqueued_at', ARGV[2],
  'started_at', ARGV[2], 'last_heartbeat', ARGV[2])
redis.call('ZADD', 'rq:wip:floor', ARGV[4], ARGV[1] .. ':' .. ARGV[1])
redis.call('PUBLISH', 'floor:hand', ARGV[1] .. ARGV[3])
