-- release: puts jobs that a worker holds but will not answer back to the front of their queue.
-- A script, because a job must at every moment be on the queue or leased, never between.
-- What is left of its budget becomes the hash's TTL again; a job whose budget has run out
-- meanwhile is dropped, since nobody waits for it.
--
-- KEYS[1] list  rq:queue:<task>                waiting ids
-- KEYS[2] zset  rq:wip:<task>                  <job>:<execution> -> expiry, s
-- KEYS[3] set   rq:worker:<name>:executions    what this worker runs
-- KEYS[4] zset  resident:leases:<task>         <job>:<execution> -> end, ms
-- KEYS[5] hash  resident:metrics:<task>        how many had expired
-- ARGV[1]      RQ's key prefix
-- ARGV[2...]   job id, execution id, in the order of the claim
--
-- Returns how many went back.
-- Needs clock.lua and write.lua in front.

local queue, started, executions, leases, metrics = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local s, us = clock()
local now_ms = s * 1000 + math.floor(us / 1000)
local released = 0
for i = #ARGV - 1, 2, -2 do
  local id, execution = ARGV[i], ARGV[i + 1]
  local member = id .. ':' .. execution
  -- This first write needs no memory, and Redis refuses none that come after it in a script.
  if write('ZREM', leases, member) == 1 then
    local job = ARGV[1] .. ':job:' .. id
    local record = ARGV[1] .. ':execution:' .. member
    local deadline = redis.pcall('HGET', record, 'deadline_ms')
    local deadline_ms = type(deadline) == 'string' and tonumber(deadline) or -1
    redis.call('DEL', record)
    write('ZREM', ARGV[1] .. ':executions:' .. id, execution)
    write('ZREM', started, member)
    write('SREM', executions, member)
    if deadline_ms >= 0 and deadline_ms <= now_ms then
      redis.call('DEL', job)
      write('HINCRBY', metrics, 'expired', 1)
      redis.call('EXPIRE', metrics, 86400)
    elseif redis.call('EXISTS', job) == 1 then
      write('HSET', job, 'status', 'queued', 'started_at', '', 'worker_name', '')
      if deadline_ms >= 0 then
        redis.call('PEXPIRE', job, deadline_ms - now_ms)
      end
      write('LPUSH', queue, id)
      released = released + 1
    end
  end
end
return released
