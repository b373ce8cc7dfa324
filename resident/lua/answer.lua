-- answer: the first half of a settle, what callers and monitors see of it: each reply, and its job's
-- state, times and TTL. file.lua is the other half.
-- A script, because reply and state are one step, and only for a job that this worker still holds:
-- one that was lost is another worker's, and nothing is written for it. So a caller gets one reply,
-- and an answer that is sent twice is harmless.
--
-- KEYS[1] zset rq:wip:<task>            <job>:<execution> -> expiry, s: who holds a job
-- KEYS[2] zset resident:leases:<task>   job -> end of its lease, ms; gone when it is answered
-- KEYS[3] hash resident:metrics:<task>  how many jobs were lost
-- ARGV[1] RQ's key prefix
-- ARGV[2] how long an unread reply is kept, ms
-- ARGV[3...] six values a job: id, execution id, its status from now on ('' for none: the hash is no
--   job that RQ could read, and goes), reply key or '', reply, ttl of the job in s (0 delete, -1 keep)
--
-- Returns one code a job: 0 lost, 1 answered.
-- Needs clock.lua, write.lua and held.lua in front.

local FIRST, VALUES = 3, 6
local prefix, reply_ttl_ms = ARGV[1], ARGV[2]
local jobs = read_jobs(FIRST, VALUES, KEYS[1], KEYS[2])

-- The leases end. That needs no memory, and Redis refuses none of the writes that follow: what was
-- asked before it became full is answered. The reply to a job whose lease had ended already is out,
-- by a call whose answer the worker never read; unless the lease was lost and the job still runs.
local function end_leases()
  local is_answered = {}
  if write('ZREM', KEYS[2], unpack(jobs.ids_held)) < #jobs.held then
    for _, i in ipairs(jobs.held) do
      local status = redis.pcall('HGET', prefix .. ':job:' .. ARGV[i], 'status')
      is_answered[i] = not status or status == 'finished' or status == 'failed'
    end
  end
  return is_answered
end

local stamp
local function answer(i, has_dependents)
  local id, _, status, reply_key, reply, ttl = unpack(ARGV, i, i + VALUES - 1)
  local job = prefix .. ':job:' .. id
  if reply_key ~= '' then
    write('RPUSH', reply_key, reply)
    redis.call('PEXPIRE', reply_key, reply_ttl_ms)
  end
  if status == '' or ttl == '0' and not has_dependents then
    redis.call('DEL', job, job .. ':dependencies', prefix .. ':results:' .. id)
    return
  end
  stamp = stamp or stamp_of(now())
  if write('HSET', job, 'status', status, 'ended_at', stamp, 'last_heartbeat', stamp) == 3 then
    redis.call('DEL', job) -- somebody had deleted it; half a hash is none that RQ could read
  elseif ttl == '-1' then
    redis.call('PERSIST', job)
  else
    redis.call('EXPIRE', job, ttl == '0' and DEPENDENTS_LOOK_S or ttl)
  end
end

local function deletes_any()
  for _, i in ipairs(jobs.held) do
    if ARGV[i + 5] == '0' then
      return true
    end
  end
  return false
end

if #jobs.held > 0 then
  local has_dependents = deletes_any() and find_dependents(prefix, jobs) or {}
  local is_answered = end_leases()
  for _, i in ipairs(jobs.held) do
    if not is_answered[i] then
      answer(i, has_dependents[i])
    end
  end
end
if #jobs.held < #jobs.codes then
  write('ZREM', KEYS[2], '') -- needs no memory, and Redis refuses no write behind it
  write('HINCRBY', KEYS[3], 'lost', #jobs.codes - #jobs.held)
  redis.call('EXPIRE', KEYS[3], '86400')
end
return jobs.codes
