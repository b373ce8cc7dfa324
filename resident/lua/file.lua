-- file: the second half of a settle, what RQ keeps of all jobs: result streams and registries.
-- Callers have been answered meanwhile; a job that answer.lua has not seen to is left alone.
--
-- KEYS[1] zset rq:wip:<task>                  <job>:<execution> -> expiry, s; gone when it is filed
-- KEYS[2] zset resident:leases:<task>         job -> end of its lease, ms: what is not answered yet
-- KEYS[3] zset rq:finished:<task>             job -> expiry, s
-- KEYS[4] zset rq:failed:<task>               job -> expiry, s
-- KEYS[5] set  rq:worker:<name>:executions    what this worker has run for long
-- ARGV[1] RQ's key prefix
-- ARGV[2] the worker's name
-- ARGV[3] when the batch was claimed, s as text
-- ARGV[4...] five values a job: id, execution id, outcome (1 finished, 2 failed, 3 discarded),
--   result (base64, as in rq.results.Result; '' for none), ttl of the job in s (0 delete, -1 keep)
--
-- Returns one code a job: 0 lost, 1 filed, 2 filed and others depend on it.
-- Needs clock.lua, write.lua and held.lua in front.

local FINISHED, FAILED, DISCARDED = '1', '2', '3'
local FILED_WITH_DEPENDENTS = 2
-- Younger executions have no records of RQ's; a little less than in renew.lua.
local RECORDED_AFTER_S = 0.9
local FIRST, VALUES = 4, 5
local prefix, name, started = ARGV[1], ARGV[2], ARGV[3]
local jobs = read_jobs(FIRST, VALUES, KEYS[1], KEYS[2])
local s, us = now()
local ended = string.format('%d.%06d', s, us)
local entries = {[FINISHED] = {}, [FAILED] = {}}

-- RQ's scores: +inf for a finished job that is kept for ever, -1 for a failed one.
local known_scores = {}
local function registry_score(outcome, ttl)
  if ttl == '-1' then
    return outcome == FINISHED and '+inf' or '-1'
  end
  known_scores[ttl] = known_scores[ttl] or string.format('%d', s + tonumber(ttl))
  return known_scores[ttl]
end

local function add_result(id, execution, outcome, result, ttl)
  local results = prefix .. ':results:' .. id
  local fields = {}
  if result ~= '' then
    fields = {outcome == FINISHED and 'return_value' or 'exc_string', result}
  end
  write('XADD', results, 'MAXLEN', '~', '10', '*', 'type', outcome, 'worker_name', name,
    'execution_id', execution, 'execution_started_at', started, 'execution_ended_at', ended,
    unpack(fields))
  if ttl == '-1' then
    redis.call('PERSIST', results)
  else
    redis.call('EXPIRE', results, ttl)
  end
end

local function file(i, has_dependents)
  local id, execution, outcome, result, ttl = unpack(ARGV, i, i + VALUES - 1)
  ttl = ttl == '0' and has_dependents and DEPENDENTS_LOOK_S or ttl
  if outcome == DISCARDED or ttl == '0' then
    return
  end
  add_result(id, execution, outcome, result, ttl)
  local to = entries[outcome]
  to[#to + 1] = registry_score(outcome, ttl)
  to[#to + 1] = id
end

local function delete_records()
  write('SREM', KEYS[5], unpack(jobs.members_held))
  for number, id in ipairs(jobs.ids_held) do
    redis.call('DEL', prefix .. ':execution:' .. jobs.members_held[number],
      prefix .. ':executions:' .. id)
  end
end

-- Leaves out those whose lease is still there: they have not been answered.
local function keep_answered()
  local open = #jobs.held > 0 and redis.pcall('ZMSCORE', KEYS[2], unpack(jobs.ids_held)) or {}
  for number = #jobs.held, 1, -1 do
    if open[number] then
      jobs.codes[(jobs.held[number] - FIRST) / VALUES + 1] = 0
      table.remove(jobs.held, number)
      table.remove(jobs.ids_held, number)
      table.remove(jobs.members_held, number)
    end
  end
end

keep_answered()
if #jobs.held == 0 then
  return jobs.codes
end
local has_dependents, is_there = find_dependents(prefix, jobs), find_keys(prefix, jobs, '')
-- This first write needs no memory, and Redis refuses none that come after it in a script.
write('ZREM', KEYS[1], unpack(jobs.members_held))
for _, i in ipairs(jobs.held) do
  if has_dependents[i] then
    jobs.codes[(i - FIRST) / VALUES + 1] = FILED_WITH_DEPENDENTS
  end
  if is_there[i] then -- else somebody has deleted it
    file(i, has_dependents[i])
  end
end
for outcome, registry in pairs({[FINISHED] = KEYS[3], [FAILED] = KEYS[4]}) do
  if #entries[outcome] > 0 then
    write('ZADD', registry, unpack(entries[outcome]))
  end
end
if s + us / 1000000 - tonumber(started) > RECORDED_AFTER_S then
  delete_records()
end
return jobs.codes
