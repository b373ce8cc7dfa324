-- settle: replies to questions, and finishes or fails their jobs in RQ's books.
-- A script, because reply and books are one step, and only for a lease that is still held: when
-- it was lost, another worker has the job, and nothing is written. So a caller gets one reply,
-- and a settle that is sent twice is harmless.
-- The first write of a job may be refused for want of memory, and then nothing has been done.
--
-- KEYS[1] zset  rq:wip:<task>                  <job>:<execution> -> expiry, s
-- KEYS[2] zset  rq:finished:<task>             job -> expiry, s
-- KEYS[3] zset  rq:failed:<task>               job -> expiry, s
-- KEYS[4] hash  rq:worker:<name>               counters
-- KEYS[5] set   rq:worker:<name>:executions    what this worker runs
-- KEYS[6] zset  resident:leases:<task>         <job>:<execution> -> end, ms
-- KEYS[7] hash  resident:metrics:<task>        how many leases were lost
-- ARGV[1] RQ's key prefix
-- ARGV[2] the worker's name
-- ARGV[3] how long an unread reply is kept, ms
-- ARGV[4] when the batch was claimed, s as text
-- ARGV[5...] seven values a job: id, execution id, outcome (1 finished, 2 failed, 3 discarded: the
--   hash was no job that RQ could read), reply key or '', reply, result (base64, as in
--   rq.results.Result; '' for none), ttl of the job in s (0 delete, -1 keep)
--
-- Returns one code a job: 0 lease lost, 1 settled, 2 settled and others depend on it (then the
-- job is kept for a minute even if its ttl is 0, so that RQ can look at it and let them go on).
-- Needs clock.lua and write.lua in front.

local FINISHED, FAILED, DISCARDED = '1', '2', '3'
local LOST, SETTLED, SETTLED_WITH_DEPENDENTS = 0, 1, 2
local DEPENDENTS_LOOK_S = '60'
local FIRST, VALUES = 5, 7

local prefix, name, reply_ttl_ms, started = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local s, us, stamp = clock()
local now = string.format('%d.%06d', s, us)
local members, codes, counts = {}, {}, {[FINISHED] = 0, [FAILED] = 0, [DISCARDED] = 0}
-- Registry entries to add, score and job by turns.
local registered = {[FINISHED] = {}, [FAILED] = {}}
local expiry_of = {}

-- Which of the leases this worker still holds, in the order of the settlements.
local function held_leases()
  local all = {}
  for i = FIRST, #ARGV, VALUES do
    all[#all + 1] = ARGV[i] .. ':' .. ARGV[i + 1]
  end
  local scores = redis.pcall('ZMSCORE', KEYS[6], unpack(all))
  return scores.err and {} or scores, all
end

-- RQ's scores: +inf for a finished job that is kept for ever, -1 for a failed one.
local function registry_score(outcome, ttl)
  local seconds = tonumber(ttl)
  if seconds <= 0 then
    return outcome == FINISHED and '+inf' or '-1'
  end
  expiry_of[ttl] = expiry_of[ttl] or string.format('%d', s + seconds)
  return expiry_of[ttl]
end

-- RQ's final state of one job that is kept: hash, result stream, entry for its registry.
local function file(id, execution, outcome, result, ttl)
  local job, results = prefix .. ':job:' .. id, prefix .. ':results:' .. id
  local new_fields = write('HSET', job, 'status', outcome == FINISHED and 'finished' or 'failed',
    'ended_at', stamp, 'last_heartbeat', stamp)
  if new_fields == 3 then -- somebody deleted the job; half a hash is none that RQ could read
    redis.call('DEL', job)
    return
  end
  local fields = {}
  if result ~= '' then
    fields = {outcome == FINISHED and 'return_value' or 'exc_string', result}
  end
  write('XADD', results, 'MAXLEN', '~', '10', '*', 'type', outcome, 'worker_name', name,
    'execution_id', execution, 'execution_started_at', started, 'execution_ended_at', now,
    unpack(fields))
  if ttl == '-1' then
    redis.call('PERSIST', results)
  else
    redis.call('EXPIRE', results, ttl)
    redis.call('EXPIRE', job, ttl)
  end
  local entries = registered[outcome]
  entries[#entries + 1] = registry_score(outcome, ttl)
  entries[#entries + 1] = id
end

local function settle(id, execution, outcome, reply_key, reply, result, ttl)
  if reply_key ~= '' then
    write('RPUSH', reply_key, reply)
    redis.call('PEXPIRE', reply_key, reply_ttl_ms)
  end
  local job = prefix .. ':job:' .. id
  local dependents = redis.call('EXISTS', job .. ':dependents')
  if dependents == 1 and ttl == '0' then
    ttl = DEPENDENTS_LOOK_S
  end
  if outcome == DISCARDED or ttl == '0' then
    redis.call('DEL', job, job .. ':dependencies', prefix .. ':results:' .. id)
  else
    file(id, execution, outcome, result, ttl)
  end
  -- Whatever else is in the job's executions belonged to workers that lost it.
  redis.call('DEL', prefix .. ':execution:' .. id .. ':' .. execution,
    prefix .. ':executions:' .. id)
  counts[outcome] = counts[outcome] + 1
  return dependents == 1 and SETTLED_WITH_DEPENDENTS or SETTLED
end

local function close_batch()
  write('ZREM', KEYS[6], unpack(members))
  write('ZREM', KEYS[1], unpack(members))
  write('SREM', KEYS[5], unpack(members))
  if counts[FINISHED] > 0 then
    write('HINCRBY', KEYS[4], 'successful_job_count', counts[FINISHED])
  end
  local failed = counts[FAILED] + counts[DISCARDED]
  if failed > 0 then
    write('HINCRBY', KEYS[4], 'failed_job_count', failed)
  end
  write('HINCRBYFLOAT', KEYS[4], 'total_working_time',
    string.format('%.6f', tonumber(now) - tonumber(started)))
  for outcome, registry in pairs({[FINISHED] = KEYS[2], [FAILED] = KEYS[3]}) do
    if #registered[outcome] > 0 then
      write('ZADD', registry, unpack(registered[outcome]))
    end
  end
end

local held, all = held_leases()
for i = FIRST, #ARGV, VALUES do
  local number = #codes + 1
  if held[number] then
    members[#members + 1] = all[number]
    codes[number] = settle(unpack(ARGV, i, i + VALUES - 1))
  else
    codes[number] = LOST
  end
end
if #members > 0 then
  close_batch()
end
if #members < #codes then
  write('HINCRBY', KEYS[7], 'lost', #codes - #members)
  redis.call('EXPIRE', KEYS[7], '86400')
end
return codes
