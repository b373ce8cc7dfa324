-- Puts a question on the queue of bench/peers/floor.py.
-- KEYS: none. ARGV: id, stamp, question as JSON. What all jobs have in common is copied.
local job = 'rq:job:' .. ARGV[1]
if redis.call('COPY', 'floor:queued', job) == 0 then
  redis.call('HSET', 'floor:queued', 'status', 'queued', 'origin', 'floor', 'failure_ttl', '604800',
    'description', 'tasks.floor.answer(…)', 'success_callback_name', 'resident.replies.deliver',
    'failure_callback_name', 'resident.replies.deliver_error')
  redis.call('COPY', 'floor:queued', job)
end
redis.call('HSET', job, 'data', ARGV[3], 'created_at', ARGV[2], 'enqueued_at', ARGV[2])
redis.call('PEXPIRE', job, 60000)
redis.call('RPUSH', 'rq:queue:floor', ARGV[1])
