-- What ask.lua writes of a plain question, handed over or on its queue; refuses if nobody is ready or too
-- many wait.
local call, args = redis.call, ARGV
local job, queue, announcement = KEYS[1], KEYS[2], KEYS[3]
local id, task = args[1], args[3]
local announced = call('HMGET', announcement, 'max_backlog', 'rate', 'model_ms', 'laned', 'offer')
local limit, offer = tonumber(announced[1] or ''), announced[5]
if not limit then
  return -1
end
local rq, own = string.sub(job, 1, -#id - 5), string.sub(announcement, 1, -#task - 6)
local started = rq .. 'wip:' .. task
local is_handed = offer
  and call('EXISTS', started, queue, queue .. ':popped', rq .. 'suspended') == 0
local waiting = is_handed and 0 or call('RPUSH', queue, id) - 1
if waiting >= limit then
  call('RPOP', queue)
  return {-2, waiting, limit}
end
local s, us = now()
local stamp, common = stamp_of(s, us), own .. 'common:' .. task .. ':' .. args[5]
local token, expiry_s, worker, _
if is_handed then
  token, expiry_s, _, worker = string.match(offer, '^(%x+) (%d+) (%d+) (%S+)$')
  common = common .. ':' .. token
end
if call('COPY', common, job) ~= 1 then
  call('HSET', job, 'status', token and 'started' or 'queued', 'failure_ttl', args[5], 'asked', 'new',
    'origin', task, 'description', 'tasks.' .. task .. '.answer(…)',
    'success_callback_name', 'resident.replies.deliver',
    'failure_callback_name', 'resident.replies.deliver_error')
  if token then
    call('HSET', job, 'worker_name', worker)
  end
  call('COPY', job, common, 'REPLACE')
  call('PEXPIRE', common, '60000')
end
if not token then
  call('HSET', job, 'data', args[4], 'enqueued_at', stamp, 'created_at', stamp)
  call('PEXPIRE', job, args[2])
  return 1
end
local execution = token .. string.format('f%019x', s * 1000000 + us)
call('HSET', job, 'data', args[4], 'enqueued_at', stamp, 'created_at', stamp, 'started_at', stamp,
  'last_heartbeat', stamp, 'execution', execution)
call('PEXPIRE', job, args[2])
call('ZADD', started, string.format('%d', s + expiry_s), id .. ':' .. execution)
call('PUBLISH', own .. 'hand:' .. token, table.concat({string.format('%d.%06d', s, us), args[2], id,
  execution, '', args[5], args[6] or '', '', args[4]}, '\n'))
return 1
