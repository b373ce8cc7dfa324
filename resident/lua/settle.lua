-- settle: ends jobs: replies to their callers, and files them as RQ does.
-- A script, because reply and books are one step, and only for a job that this worker still holds:
-- one that was lost is another worker's, and nothing is written for it. So a caller gets one reply,
-- and a settle that is sent twice is harmless.
--
-- Whose a job is stands in its hash: the execution that was claimed last, until it is put back.
--
-- KEYS[1] zset rq:wip:<task>                  <job>:<execution> -> expiry, s; gone when it is filed
-- KEYS[2] zset rq:finished:<task>             job -> expiry, s
-- KEYS[3] zset rq:failed:<task>               job -> expiry, s
-- KEYS[4] set  rq:worker:<name>:executions    what this worker has run for long
-- KEYS[5] hash resident:metrics:<task>        how many jobs were lost
-- ARGV[1] RQ's key prefix
-- ARGV[2] the worker's name
-- ARGV[3] when the batch was claimed, s as text
-- ARGV[4] how long an unread reply is kept, ms
-- ARGV[5...] seven values a job: id, execution id, outcome (1 finished, 2 failed, 3 discarded: the
--   hash is no job that RQ could read, and goes), reply key or '', reply, result (base64, as in
--   rq.results.Result; '' for none), ttl of the job in s (0 delete, -1 keep)
--
-- Returns one code a job: 0 lost, 1 settled, 2 settled and others depend on it.
-- Needs clock.lua and write.lua in front.

local LOST, SETTLED, SETTLED_WITH_DEPENDENTS = 0, 1, 2
local FINISHED, DISCARDED = '1', '3'
local STATUS = {['1'] = 'finished', ['2'] = 'failed'}
local HAS_ENDED = {finished = true, failed = true}
-- A job with ttl 0 that others depend on is kept for so long, for RQ to look at and let them go on.
local DEPENDENTS_LOOK_S = '60'
local FIRST, VALUES = 5, 7
local prefix, name, started, reply_ttl_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- Somebody deleted the job while it ran: its caller is answered if nobody was before.
local function is_gone(id, execution)
  local score = redis.pcall('ZSCORE', KEYS[1], id .. ':' .. execution)
  return score and redis.call('EXISTS', prefix .. ':job:' .. id) == 0
end

-- Whether this worker holds a job; else its code. What was noted of its stream goes with it.
local function judge(id, execution)
  local job = prefix .. ':job:' .. id
  local state = redis.pcall('HMGET', job, 'execution', 'status', 'streamed')
  if state.err then -- no hash: whatever it is, it is not a job
    redis.call('DEL', job)
    state = {false, false, false}
  end
  if state[1] == execution then
    if state[3] then
      redis.call('HDEL', job, 'streamed')
    end
    return not HAS_ENDED[state[2]], SETTLED
  end
  if state[1] == 'cancelled' then -- see cancel.lua; its caller has been told
    return false, SETTLED
  end
  return not state[1] and not state[2] and is_gone(id, execution), LOST
end

local codes, held, members, dependents = {}, {}, {}, {}
for i = FIRST, #ARGV, VALUES do
  local id, execution = ARGV[i], ARGV[i + 1]
  local is_held, code = judge(id, execution)
  codes[#codes + 1] = is_held and SETTLED or code
  members[#codes] = id .. ':' .. execution
  if is_held then
    held[#held + 1] = i
    dependents[#held] = prefix .. ':job:' .. id .. ':dependents'
  end
end
-- This first write needs no memory, and Redis refuses none that come after it in a script: what
-- was asked before it became full is answered.
write('ZREM', KEYS[1], unpack(members))

local function count_lost()
  local lost = 0
  for _, code in ipairs(codes) do
    lost = lost + (code == LOST and 1 or 0)
  end
  if lost > 0 then
    write('HINCRBY', KEYS[5], 'lost', lost)
    redis.call('EXPIRE', KEYS[5], '86400')
  end
end

if #held < #codes then
  count_lost()
end
if #held == 0 then
  return codes
end

local s, us = now()
local stamp, ended = stamp_of(s, us), string.format('%d.%06d', s, us)
local entries = {{}, {}}
-- Neither dependents nor records of RQ's are often there, and one call looks for all of them. A tick
-- may have written records for a batch that is younger than it thought.
local is_any_rare = redis.call('EXISTS', KEYS[4], unpack(dependents)) > 0
local has_records = is_any_rare and redis.call('EXISTS', KEYS[4]) == 1

-- RQ's scores: +inf for a finished job that is kept for ever, -1 for a failed one.
local known_scores = {}
local function registry_score(outcome, ttl)
  if ttl == '-1' then
    return outcome == FINISHED and '+inf' or '-1'
  end
  known_scores[ttl] = known_scores[ttl] or string.format('%d', s + tonumber(ttl))
  return known_scores[ttl]
end

local function set_ttl(key, ttl)
  if ttl == '-1' then
    redis.call('PERSIST', key)
  else
    redis.call('EXPIRE', key, ttl)
  end
end

local function add_result(results, execution, outcome, result)
  local field = outcome == FINISHED and 'return_value' or 'exc_string'
  write('XADD', results, 'MAXLEN', '~', '10', '*', 'type', outcome, 'worker_name', name,
    'execution_id', execution, 'execution_started_at', started, 'execution_ended_at', ended,
    unpack(result == '' and {} or {field, result}))
end

local function settle(i, has_dependents)
  local id, execution, outcome, reply_key, reply, result, ttl = unpack(ARGV, i, i + VALUES - 1)
  local job, results = prefix .. ':job:' .. id, prefix .. ':results:' .. id
  if reply_key ~= '' then
    write('RPUSH', reply_key, reply)
    redis.call('PEXPIRE', reply_key, reply_ttl_ms)
  end
  if outcome == DISCARDED or ttl == '0' and not has_dependents then
    redis.call('DEL', job, job .. ':dependencies', results)
    return
  end
  ttl = ttl == '0' and DEPENDENTS_LOOK_S or ttl
  if redis.call('HSET', job, 'status', STATUS[outcome], 'ended_at', stamp,
    'last_heartbeat', stamp) == 3 then
    redis.call('DEL', job) -- it was gone; half a hash is none that RQ could read
    return
  end
  set_ttl(job, ttl)
  add_result(results, execution, outcome, result)
  set_ttl(results, ttl)
  local to = entries[tonumber(outcome)]
  to[#to + 1] = registry_score(outcome, ttl)
  to[#to + 1] = id
end

for number, i in ipairs(held) do
  local has_dependents = is_any_rare and redis.call('EXISTS', dependents[number]) == 1
  if has_dependents then
    codes[(i - FIRST) / VALUES + 1] = SETTLED_WITH_DEPENDENTS
  end
  settle(i, has_dependents)
end
for outcome, registry in ipairs({KEYS[2], KEYS[3]}) do
  if #entries[outcome] > 0 then
    write('ZADD', registry, unpack(entries[outcome]))
  end
end
if has_records then
  write('SREM', KEYS[4], unpack(members))
  for _, i in ipairs(held) do
    redis.call('DEL', prefix .. ':execution:' .. ARGV[i] .. ':' .. ARGV[i + 1],
      prefix .. ':executions:' .. ARGV[i])
  end
end
return codes
