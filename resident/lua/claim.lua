-- claim: takes up to max_batch questions off a task's queue and starts them in RQ's books.
-- A script, because a job must at every moment be on the queue or leased, never between.
-- Also skips what nobody waits for any more (the hash expired: the budget ran out), and what
-- is running or finished already (the same id pushed twice).
-- RQ's execution records come later, and only for a job that runs long: see renew.lua.
--
-- KEYS[1] list   rq:queue:<task>                 waiting ids
-- KEYS[2] list   rq:queue:<task>:popped          ids that a blocking pop of ours took off the
--                                                queue in front of this call; they come first
-- KEYS[3] list   rq:queue:<task>:intermediate    RQ's own, for a job that it shall perform
-- KEYS[4] zset   rq:wip:<task>                   <job>:<execution> -> expiry, s
-- KEYS[5] hash   rq:worker:<name>                its state: busy, or idle if there is nothing
-- KEYS[6] zset   resident:leases:<task>          job -> end of its lease, ms
-- KEYS[7] hash   resident:metrics:<task>         counts of what was skipped
-- KEYS[8] string rq:suspended                    there while rq suspend holds
-- ARGV[1] RQ's key prefix
-- ARGV[2] the worker's name
-- ARGV[3] 24 hex digits that no other claim has; execution ids begin with them
-- ARGV[4] at most so many questions
-- ARGV[5] how long a lease lasts, ms
-- ARGV[6] longer job data is not sent, the question is refused; bytes
-- ARGV[7] 1 if the worker's state is busy already
-- ARGV[8] the longest that a batch may take, s; RQ must not think a job abandoned before
-- ARGV[9] 1 if more is claimed for a batch that there is already; then no job that must be alone
--
-- Returns {code, now in s as text, more, job...}:
--   code 1 questions, 2 one job that needs RQ's own perform_job, on KEYS[3] now, 3 suspended:
--   nothing was taken
--   more: 1 if it stopped after skipping many and should be called again at once
--   a job is {id, execution id, data or '', size of data, ms left or -1, then the values of
--   enqueued_at, created_at, timeout, result_ttl, failure_ttl, reply_to and the callbacks' names}
-- Needs clock.lua, write.lua and deadline.lua in front.

local QUESTIONS, SPECIAL, SUSPENDED = 1, 2, 3
-- What is read of a job: its status; the plain fields; those that send it through RQ's own
-- perform_job if they have a value; its data.
local FIELDS = {'status',
  'enqueued_at', 'created_at', 'timeout', 'result_ttl', 'failure_ttl', 'reply_to',
  'success_callback_name', 'failure_callback_name',
  'stopped_callback_name', 'webhooks', 'group_id', 'retries_left', 'repeats_left',
  'rate_limit_key', 'dependency_ids', 'dependency_id',
  'data', 'execution'}
local STATUS, FIRST_PLAIN, TIMEOUT, ON_SUCCESS, ON_FAILURE, LAST_SPECIAL, DATA, EXECUTION =
  1, 2, 4, 8, 9, 17, 18, 19
local OURS = {[''] = true, ['resident.replies.deliver'] = true,
  ['resident.replies.deliver_error'] = true}
local NO_VALUE = {[''] = true, ['0'] = true, ['[]'] = true}
-- One claim looks at no more ids than this beyond its batch, so that a queue full of expired
-- questions does not stop Redis for long.
local MOST_SKIPPED = 1000
local DEFAULT_HEARTBEAT_S = 420 -- RQ's DEFAULT_WORKER_TTL
local LONGEST_S = 31536000
local DAY_S = '86400'

local s, us = now()
local now_ms = s * 1000 + math.floor(us / 1000)
local prefix, name, token, max_batch = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local max_data_bytes = tonumber(ARGV[6])

local function put_back_what_was_popped()
  while redis.call('LMOVE', KEYS[2], KEYS[1], 'RIGHT', 'LEFT') do end
end

local function uses_more_of_rq(values)
  for i = ON_FAILURE + 1, LAST_SPECIAL do
    if values[i] and not NO_VALUE[values[i]] then
      return true
    end
  end
  return not OURS[values[ON_SUCCESS] or ''] or not OURS[values[ON_FAILURE] or '']
end

-- Which of these ids a worker of ours holds, in their order; a lease that has ended holds nothing.
local function leased(ids)
  local ends, held = redis.pcall('ZMSCORE', KEYS[6], unpack(ids)), {}
  for i = 1, ends.err and 0 or #ids do
    held[i] = ends[i] and tonumber(ends[i]) > now_ms
  end
  return held
end

-- Whether others depend on any of these ids: rarely, so that one call looks for all of them.
local function any_has_dependents(ids)
  local dependents = {}
  for i, id in ipairs(ids) do
    dependents[i] = prefix .. ':job:' .. id .. ':dependents'
  end
  return redis.call('EXISTS', unpack(dependents)) > 0
end

-- What an id is: 'question', 'special', or why it is skipped; its key and its fields.
local function inspect(id, may_have_dependents)
  if #id > 255 or not string.find(id, '^[A-Za-z0-9_-]+$') then
    return 'malformed'
  end
  local key = prefix .. ':job:' .. id
  local values = redis.pcall('HMGET', key, unpack(FIELDS))
  if values.err then
    redis.call('DEL', key) -- no hash: whatever it is, it is not a job
    return 'malformed'
  end
  local status = values[STATUS]
  if not status and redis.call('EXISTS', key) == 0 then
    return 'expired'
  end
  if status == 'finished' or status == 'canceled' then
    return 'duplicate'
  end
  if status == 'started' and redis.call('TYPE', prefix .. ':executions:' .. id).ok == 'zset' then
    return 'duplicate' -- a stock worker runs it
  end
  if may_have_dependents and redis.call('EXISTS', key .. ':dependents') == 1 then
    return 'special', key, values
  end
  return uses_more_of_rq(values) and 'special' or 'question', key, values
end

-- Ids become the entries of found, a special, or counts of skipped; nothing is written yet.
local found, special, seen, skipped, looked, more = {}, nil, {}, {}, 0, 0
local is_full = false

local function look_at(id, is_leased, may_have_dependents)
  local kind, key, values = 'duplicate', nil, nil
  if not seen[id] and not is_leased then
    kind, key, values = inspect(id, may_have_dependents)
  end
  if kind == 'special' then
    if #found > 0 or ARGV[9] == '1' then
      is_full = true -- it must be alone; the next claim gets it
      return false
    end
    special = id
    is_full = true
  elseif kind == 'question' then
    found[#found + 1] = {id = id, key = key, values = values,
      execution = token .. string.format('%08x', #found)}
    is_full = #found == max_batch
  else
    skipped[kind] = (skipped[kind] or 0) + 1
  end
  seen[id] = true
  looked = looked + 1
  return true
end

-- Looks through a list from its left; returns how many of its ids were used up.
local function look_through(list)
  local used = 0
  while not is_full do
    local ids = redis.call('LRANGE', list, used, used + max_batch - #found - 1)
    if #ids == 0 then
      break
    end
    local is_leased, may_have_dependents = leased(ids), any_has_dependents(ids)
    for i, id in ipairs(ids) do
      if is_full or not look_at(id, is_leased[i], may_have_dependents) then
        return used
      end
      used = used + 1
    end
    if looked > MOST_SKIPPED + max_batch then
      more, is_full = 1, true
    end
  end
  return used
end

-- When RQ may think a job of this time-out abandoned, in s as text: Redis formats a number of
-- Lua's slowly.
local function expiry_of(timeout)
  local seconds = tonumber(timeout or '')
  if not seconds or seconds ~= seconds or seconds <= 0 then -- 'nan' is a number to Lua
    seconds = DEFAULT_HEARTBEAT_S
  end
  seconds = math.min(math.max(seconds, tonumber(ARGV[8])), LONGEST_S)
  return string.format('%d', s + math.floor(seconds) + 60)
end

-- One entry a job in what they share: leases, started registry.
local function record_batch()
  local lease_end = string.format('%d', now_ms + tonumber(ARGV[5]))
  local leases, started, known = {}, {}, {}
  for i, one in ipairs(found) do
    local timeout = one.values[TIMEOUT] or ''
    known[timeout] = known[timeout] or expiry_of(timeout)
    leases[2 * i - 1], leases[2 * i] = lease_end, one.id
    started[2 * i - 1], started[2 * i] = known[timeout], one.id .. ':' .. one.execution
  end
  write('ZADD', KEYS[6], unpack(leases))
  redis.call('EXPIRE', KEYS[6], DAY_S)
  write('ZADD', KEYS[4], unpack(started))
end

-- The job's own state, as RQ writes it, and which execution it is; returns what the worker is told
-- of it. An execution before this one has lost the job, whatever its worker still means to do.
local function start(one, stamp)
  if one.values[EXECUTION] then
    write('ZREM', KEYS[4], one.id .. ':' .. one.values[EXECUTION])
  end
  redis.call('HSET', one.key, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp,
    'worker_name', name, 'execution', one.execution)
  local left_ms = keep_deadline(one.key)
  local data = one.values[DATA] or ''
  local told = {one.id, one.execution, #data <= max_data_bytes and data or '', #data, left_ms}
  for i = FIRST_PLAIN, ON_FAILURE do
    told[#told + 1] = one.values[i] or ''
  end
  return told
end

if redis.call('EXISTS', KEYS[8]) == 1 then
  put_back_what_was_popped()
  return {SUSPENDED, '0', 0}
end
local used_of_popped = look_through(KEYS[2])
local used_of_queue = look_through(KEYS[1])
local is_busy = #found > 0 or special ~= nil or ARGV[9] == '1'
if is_busy ~= (ARGV[7] == '1') then
  write('HSET', KEYS[5], 'state', is_busy and 'busy' or 'idle')
end
if looked == 0 then
  return {QUESTIONS, '0', 0}
end

local stamp = stamp_of(s, us)
local result = {special and SPECIAL or QUESTIONS, string.format('%d.%06d', s, us), more}
if #found > 0 then
  record_batch()
  for i, one in ipairs(found) do
    result[3 + i] = start(one, stamp)
  end
end
if special then
  write('RPUSH', KEYS[3], special)
  result[4] = {special}
end
if used_of_popped > 0 then
  redis.call('LTRIM', KEYS[2], used_of_popped, -1)
end
if used_of_queue > 0 then
  redis.call('LTRIM', KEYS[1], used_of_queue, -1)
end
for kind, count in pairs(skipped) do
  write('HINCRBY', KEYS[7], kind, count)
  redis.call('EXPIRE', KEYS[7], DAY_S)
end
return result
