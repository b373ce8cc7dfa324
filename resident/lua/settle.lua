-- settle: replies to questions, and finishes or fails their jobs in RQ's books.
-- A script, because reply and state are one step, and only for a job that this worker still
-- holds: when it was lost, another worker has it, and nothing is written. So a caller gets one
-- reply, and a settle that is sent twice is harmless.
-- It has two halves. `answer` is what callers and monitors see of a job: the reply, the hash with
-- status, times and TTL. `file` is what RQ keeps of all jobs: result stream and registries.
-- A batch is settled by one call; a lone question's reply goes out first, and its filing happens
-- while the caller reads it.
--
-- KEYS[1] zset  rq:wip:<task>                  <job>:<execution> -> expiry, s
-- KEYS[2] zset  rq:finished:<task>             job -> expiry, s
-- KEYS[3] zset  rq:failed:<task>               job -> expiry, s
-- KEYS[4] set   rq:worker:<name>:executions    what this worker has run for long
-- KEYS[5] zset  resident:leases:<task>         job -> end of its lease, ms
-- KEYS[6] hash  resident:metrics:<task>        how many jobs were lost
-- ARGV[1] RQ's key prefix
-- ARGV[2] the worker's name
-- ARGV[3] how long an unread reply is kept, ms
-- ARGV[4] when the batch was claimed, s as text
-- ARGV[5] what to do: 1 answer, 2 file what has been answered, 3 both
-- ARGV[6...] seven values a job: id, execution id, outcome (1 finished, 2 failed, 3 discarded: the
--   hash was no job that RQ could read), reply key or '', reply, result (base64, as in
--   rq.results.Result; '' for none), ttl of the job in s (0 delete, -1 keep)
--
-- Returns one code a job: 0 lost, 1 settled, 2 settled and others depend on it (then the job is
-- kept for a minute even if its ttl is 0, so that RQ can look at it and let them go on).
-- Needs clock.lua and write.lua in front.

local FINISHED, FAILED, DISCARDED = '1', '2', '3'
local LOST, SETTLED, SETTLED_WITH_DEPENDENTS = 0, 1, 2
local DEPENDENTS_LOOK_S = '60'
-- Younger executions have no records of RQ's; a little less than in renew.lua.
local RECORDED_AFTER_S = 0.9
local FIRST, VALUES = 6, 7

local prefix, name, reply_ttl_ms, started = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local does_answer, does_file = ARGV[5] ~= '2', ARGV[5] ~= '1'
local s, us = now()

-- The jobs that this worker holds, and for each job its code.
local mine, codes, deletes = {}, {}, false

-- Whether the reply to a job that we hold is out; notes if somebody has deleted the job.
local function is_answered(one)
  local status = redis.pcall('HGET', one.key, 'status')
  one.is_deleted = not status
  return status ~= 'started'
end

local function read_held()
  local jobs, ids, members = {}, {}, {}
  for i = FIRST, #ARGV, VALUES do
    local id, execution, outcome, reply_key, reply, result, ttl = unpack(ARGV, i, i + VALUES - 1)
    local one = {number = #jobs + 1, id = id, execution = execution, outcome = outcome,
      reply_key = reply_key, reply = reply, result = result, ttl = ttl,
      key = prefix .. ':job:' .. id, member = id .. ':' .. execution}
    jobs[one.number], ids[one.number], members[one.number] = one, id, one.member
  end
  local held = redis.pcall('ZMSCORE', KEYS[1], unpack(members))
  if held.err then -- no registry any more: the leases must do
    held = redis.pcall('ZMSCORE', KEYS[5], unpack(ids))
  end
  for number, one in ipairs(jobs) do
    codes[number] = LOST
    if not held.err and held[number] and (does_answer or is_answered(one)) then
      mine[#mine + 1] = one
      codes[number] = SETTLED
      deletes = deletes or one.ttl == '0' or one.outcome == DISCARDED
    end
  end
end

-- Those that others depend on are kept, and named to the worker.
local function look_for_dependents()
  local dependents = {}
  for i, one in ipairs(mine) do
    dependents[i] = one.key .. ':dependents'
  end
  if redis.call('EXISTS', unpack(dependents)) == 0 then
    return
  end
  for i, one in ipairs(mine) do
    if redis.call('EXISTS', dependents[i]) == 1 then
      codes[one.number] = SETTLED_WITH_DEPENDENTS
      one.ttl = one.ttl == '0' and DEPENDENTS_LOOK_S or one.ttl
    end
  end
end

-- The leases end. That needs no memory, and Redis refuses none of the writes that follow: what was
-- asked before it became full is answered. The reply to a job whose lease had ended already is out,
-- by a settle whose answer the worker never read; unless the lease was lost and the job still runs.
local function end_leases()
  local ids = {}
  for i, one in ipairs(mine) do
    ids[i] = one.id
  end
  if write('ZREM', KEYS[5], unpack(ids)) == #ids then
    return
  end
  for _, one in ipairs(mine) do
    one.is_answered = is_answered(one)
  end
end

local function answer(one, stamp)
  if one.reply_key ~= '' then
    write('RPUSH', one.reply_key, one.reply)
    redis.call('PEXPIRE', one.reply_key, reply_ttl_ms)
  end
  if one.outcome == DISCARDED or one.ttl == '0' then
    redis.call('DEL', one.key, one.key .. ':dependencies', prefix .. ':results:' .. one.id)
    return
  end
  local new_fields = write('HSET', one.key, 'status',
    one.outcome == FINISHED and 'finished' or 'failed', 'ended_at', stamp, 'last_heartbeat', stamp)
  if new_fields == 3 then -- somebody deleted the job; half a hash is none that RQ could read
    redis.call('DEL', one.key)
    one.is_deleted = true
  elseif one.ttl == '-1' then
    redis.call('PERSIST', one.key)
  else
    redis.call('EXPIRE', one.key, one.ttl)
  end
end

local function add_result(one, ended)
  local results = prefix .. ':results:' .. one.id
  local fields = {}
  if one.result ~= '' then
    fields = {one.outcome == FINISHED and 'return_value' or 'exc_string', one.result}
  end
  write('XADD', results, 'MAXLEN', '~', '10', '*', 'type', one.outcome, 'worker_name', name,
    'execution_id', one.execution, 'execution_started_at', started, 'execution_ended_at', ended,
    unpack(fields))
  if one.ttl == '-1' then
    redis.call('PERSIST', results)
  else
    redis.call('EXPIRE', results, one.ttl)
  end
end

-- RQ's scores: +inf for a finished job that is kept for ever, -1 for a failed one.
local known_scores = {}
local function registry_score(one)
  local seconds = tonumber(one.ttl)
  if seconds <= 0 then
    return one.outcome == FINISHED and '+inf' or '-1'
  end
  known_scores[one.ttl] = known_scores[one.ttl] or string.format('%d', s + seconds)
  return known_scores[one.ttl]
end

local function file()
  local members, entries = {}, {[FINISHED] = {}, [FAILED] = {}}
  for i, one in ipairs(mine) do
    members[i] = one.member
  end
  -- This first write needs no memory, and Redis refuses none that come after it in a script.
  write('ZREM', KEYS[1], unpack(members))
  local ended = string.format('%d.%06d', s, us)
  for _, one in ipairs(mine) do
    if one.outcome ~= DISCARDED and one.ttl ~= '0' and not one.is_deleted then
      add_result(one, ended)
      local to = entries[one.outcome]
      to[#to + 1] = registry_score(one)
      to[#to + 1] = one.id
    end
  end
  for outcome, registry in pairs({[FINISHED] = KEYS[2], [FAILED] = KEYS[3]}) do
    if #entries[outcome] > 0 then
      write('ZADD', registry, unpack(entries[outcome]))
    end
  end
  if s + us / 1000000 - tonumber(started) > RECORDED_AFTER_S then
    write('SREM', KEYS[4], unpack(members))
    for _, one in ipairs(mine) do
      redis.call('DEL', prefix .. ':execution:' .. one.member, prefix .. ':executions:' .. one.id)
    end
  end
end

read_held()
if #mine > 0 and (does_file or deletes) then
  look_for_dependents()
end
if #mine > 0 and does_answer then
  end_leases()
  local stamp = stamp_of(s, us)
  for _, one in ipairs(mine) do
    if not one.is_answered then
      answer(one, stamp)
    end
  end
end
if #mine > 0 and does_file then
  file()
end
if does_answer and #mine < #codes then
  write('HINCRBY', KEYS[6], 'lost', #codes - #mine)
  redis.call('EXPIRE', KEYS[6], '86400')
end
return codes
