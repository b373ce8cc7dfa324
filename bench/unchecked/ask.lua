-- What ask.lua writes of a plain question, handed over or on its queue; refuses if nobody is ready or too
-- many wait.
local call, args = redis.call, ARGV
local job, queue, announcement = KEYS[1], KEYS[2], KEYS[3]
local id, task = args[1], args[5]
local announced = call('HMGET', announcement, 'max_backlog', 'rate', 'model_ms', 'laned', 'offer')
local limit, offer = tonumber(announced[1] or ''), announced[5]
if not limit then
  return -1
end
local rq = string.sub(job, 1, -#id - 5)
local started = rq .. 'wip:' .. task
local is_handed = offer
  and call('EXISTS', started, queue, queue .. ':popped', rq .. 'suspended') == 0
local waiting = is_handed and 0 or call('RPUSH', queue, id) - 1
if waiting >= limit then
  call('RPOP', queue)
  return {-2, waiting, limit}
end
local s, us = now()
local stamp, description = stamp_of(s, us), 'tasks.' .. task .. '.answer(…)'
if not is_handed then
  call('HSET', job, 'status', 'queued', 'data', args[6], 'enqueued_at', stamp,
    'failure_ttl', args[7], 'asked', 'new', 'created_at', stamp, 'origin', task,
    'description', description, 'success_callback_name', 'resident.replies.deliver',
    'failure_callback_name', 'resident.replies.deliver_error')
  call('PEXPIRE', job, args[2])
  return 1
end
local token, expiry_s, _, worker = string.match(offer, '^(%x+) (%d+) (%d+) (%S+)$')
local execution = token .. string.format('f%019x', s * 1000000 + us)
call('HSET', job, 'status', 'started', 'data', args[6], 'enqueued_at', stamp,
  'failure_ttl', args[7], 'asked', 'new', 'created_at', stamp, 'origin', task,
  'description', description, 'success_callback_name', 'resident.replies.deliver',
  'failure_callback_name', 'resident.replies.deliver_error', 'started_at', stamp,
  'last_heartbeat', stamp, 'worker_name', worker, 'execution', execution)
call('PEXPIRE', job, args[2])
call('ZADD', started, string.format('%d', s + expiry_s), id .. ':' .. execution)
local own = string.sub(announcement, 1, -#task - 6)
call('PUBLISH', own .. 'hand:' .. token, table.concat({string.format('%d.%06d', s, us), id, execution,
  args[2], stamp, args[7], args[9] or '', '', args[6]}, '\n'))
return 1
