-- release: puts jobs that a worker will not answer back to the front of their queue.
-- A script, because a job must at every moment be on the queue or started, never between; and two
-- may mean to put back the same jobs.
-- What is left of its budget becomes the hash's TTL again; a job whose budget has run out
-- meanwhile is dropped, since nobody waits for it.
-- A job that went down with its worker notes it in its field deaths, and will be claimed alone.
-- When that makes too many, or it hung alone, the field says in one word what it did (an error code
-- of docs/protocol.md), and whoever claims it does not run it but reports that; the field goes when
-- that is settled.
-- An answer whose reader has a part of it already is not begun anew: the field says so at once, in
-- the word timed_out or interrupted, however the worker came to its end.
--
-- KEYS[1] list  rq:queue:<task>                waiting ids
-- KEYS[2] zset  rq:wip:<task>                  <job>:<execution> -> expiry, s
-- KEYS[3] set   rq:worker:<name>:executions    what the worker has run for long
-- KEYS[4] zset  resident:leases:<task>         worker's token -> end of its lease, ms
-- KEYS[5] hash  resident:metrics:<task>        how many had expired
-- KEYS[6] list  rq:queue:<task>:popped         ids that a blocking pop took, and whose claim may
--                                              have gone down with the worker's connection
-- KEYS[7] hash  rq:worker:<name>               its field special: a job that it took for RQ's own
--                                              perform_job, which goes back if RQ has not begun it
-- KEYS[8] list  rq:queue:<task>:intermediate   where such a job is until then
-- ARGV[1] RQ's key prefix
-- ARGV[2] the worker's token if nothing is to be done while its lease lasts, else ''
-- ARGV[3] '' if the worker lives; else what its death is to be called
-- ARGV[4] so many deaths are too many; 1 if the first is
-- ARGV[5...] job id, execution id, in the order of the claim
--
-- Returns how many went back.
-- Needs clock.lua, write.lua and deadline.lua in front.

local FIRST = 5
local HAS_ENDED = {finished = true, failed = true, canceled = true, stopped = true}
local queue, started, executions, leases, metrics = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, token, cause, most_deaths = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local function is_leased()
  local s, us = now()
  local lease_end = redis.pcall('ZSCORE', leases, token)
  return type(lease_end) == 'string' and tonumber(lease_end) > s * 1000 + us / 1000
end

local function deaths_with(before)
  local deaths = tonumber(string.match(before or '', '^%d+$') or 0) + 1
  return deaths >= most_deaths and cause or string.format('%d', deaths)
end

local VERDICTS = {crashed = true, timed_out = true, interrupted = true}

local function verdict_on(deaths, streamed)
  if VERDICTS[deaths or ''] then
    return deaths -- of an earlier run, and nobody has reported it
  end
  if streamed then
    return cause == 'timed_out' and cause or 'interrupted'
  end
  return cause ~= '' and deaths_with(deaths)
end

local function count_expired()
  write('HINCRBY', metrics, 'expired', 1)
  redis.call('EXPIRE', metrics, 86400)
end

local function put_back(id, job, deaths, streamed)
  if restore_deadline(job) == 0 then
    redis.call('DEL', job)
    count_expired()
    return 0
  end
  redis.call('HSET', job, 'status', 'queued', 'started_at', '', 'worker_name', '')
  redis.call('HDEL', job, 'execution')
  local verdict = verdict_on(deaths, streamed)
  if verdict then
    redis.call('HSET', job, 'deaths', verdict)
  end
  write('LPUSH', queue, id)
  return 1
end

if token ~= '' and is_leased() then
  return 0
end
local released = 0
for i = #ARGV - 1, FIRST, -2 do
  local id, execution = ARGV[i], ARGV[i + 1]
  local member, job = id .. ':' .. execution, prefix .. ':job:' .. id
  -- This first write needs no memory, and Redis refuses none that come after it in a script.
  local was_held = write('ZREM', started, member) == 1
  local state = redis.pcall('HMGET', job, 'execution', 'status', 'deaths', 'streamed')
  -- An execution that RQ itself began stands in its registry alone.
  local is_rqs = was_held and not state[1] and state[2] == 'started'
  if state[1] == execution or is_rqs then
    redis.call('DEL', prefix .. ':execution:' .. member)
    write('ZREM', prefix .. ':executions:' .. id, execution)
    write('SREM', executions, member)
    if not HAS_ENDED[state[2]] then -- else it was cancelled, and does not come back
      released = released + put_back(id, job, state[3], state[4])
    end
  elseif was_held and not state[1] and redis.call('EXISTS', job) == 0 then
    count_expired()
  end
end
local special = redis.pcall('HGET', KEYS[7], 'special')
if type(special) == 'string' then
  redis.call('HDEL', KEYS[7], 'special')
  local job = prefix .. ':job:' .. special
  local state = redis.pcall('HMGET', job, 'status', 'deaths', 'streamed')
  if redis.pcall('LREM', KEYS[8], 1, special) == 1 and state[1] == 'queued' then
    released = released + put_back(special, job, state[2], state[3])
  end
end
-- If the claim is still to come after all, it finds them on the queue.
while type(redis.pcall('LMOVE', KEYS[6], queue, 'RIGHT', 'LEFT')) == 'string' do end
if token ~= '' then
  write('ZREM', leases, token)
end
return released
