-- What ask.lua writes of a plain question; refuses if nobody is ready or too many wait.
local call, args = redis.call, ARGV
local job, queue = KEYS[1], KEYS[2]
local announced = call('HMGET', KEYS[3], 'max_backlog', 'rate', 'model_ms', 'laned', 'offer')
local limit = tonumber(announced[1] or '')
if not limit then
  return -1
end
local waiting = call('RPUSH', queue, args[1]) - 1
if waiting >= limit then
  call('RPOP', queue)
  return {-2, waiting, limit}
end
local stamp = stamp_of(now())
call('HSET', job, 'status', 'queued', 'data', args[6], 'enqueued_at', stamp,
  'failure_ttl', args[7], 'asked', 'new', 'created_at', stamp, 'origin', args[5],
  'description', 'tasks.' .. args[5] .. '.answer(…)', 'success_callback_name',
  'resident.replies.deliver', 'failure_callback_name', 'resident.replies.deliver_error')
call('PEXPIRE', job, args[2])
return 1
