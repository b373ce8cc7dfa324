-- claim: takes up to max_batch questions off a task's queue and starts them in RQ's books.
-- A script, because a job must at every moment be on the queue or leased, never between.
-- Also skips what nobody waits for any more (the hash expired: the budget ran out), and what
-- is running or finished already (the same id pushed twice).
--
-- KEYS[1] list   rq:queue:<task>                 waiting ids
-- KEYS[2] list   rq:queue:<task>:popped          ids that a blocking pop of ours took off the
--                                                queue in front of this call; they come first
-- KEYS[3] list   rq:queue:<task>:intermediate    RQ's own, for a job that it shall perform
-- KEYS[4] zset   rq:wip:<task>                   <job>:<execution> -> expiry, s
-- KEYS[5] hash   rq:worker:<name>               its state: busy, or idle if there is nothing
-- KEYS[6] set    rq:worker:<name>:executions     what this worker runs
-- KEYS[7] zset   resident:leases:<task>          <job>:<execution> -> end, ms
-- KEYS[8] hash   resident:metrics:<task>         counts of what was skipped
-- KEYS[9] string rq:suspended                    there while rq suspend holds
-- ARGV[1] RQ's key prefix
-- ARGV[2] the worker's name
-- ARGV[3] 24 hex digits that no other claim has; execution ids begin with them
-- ARGV[4] at most so many questions
-- ARGV[5] how long a lease lasts, ms
-- ARGV[6] longer job data is not sent, the question is refused; bytes
-- ARGV[7] 1 if the worker's state is busy already
-- ARGV[8] the longest that a batch may take, s; RQ must not think a job abandoned before
--
-- Returns {code, now in s as text, more, job...}:
--   code 1 questions, 2 one job that needs RQ's own perform_job, on KEYS[3] now, 3 suspended:
--   nothing was taken
--   more: 1 if it stopped after skipping many and should be called again at once
--   a job is {id, execution id, data or '', size of data, ms left or -1, then the values of
--   enqueued_at, created_at, timeout, result_ttl, failure_ttl, reply_to and the callbacks' names}
-- Needs clock.lua and write.lua in front.

local QUESTIONS, SPECIAL, SUSPENDED = 1, 2, 3
-- What is read of a job: its status; the plain fields; those that send it through RQ's own
-- perform_job if they have a value; its data.
local FIELDS = {'status',
  'enqueued_at', 'created_at', 'timeout', 'result_ttl', 'failure_ttl', 'reply_to',
  'success_callback_name', 'failure_callback_name',
  'stopped_callback_name', 'webhooks', 'group_id', 'retries_left', 'repeats_left',
  'rate_limit_key', 'dependency_ids', 'dependency_id',
  'data'}
local STATUS, FIRST_PLAIN, TIMEOUT, ON_SUCCESS, ON_FAILURE, LAST_SPECIAL, DATA =
  1, 2, 4, 8, 9, 17, 18
local OURS = {[''] = true, ['resident.replies.deliver'] = true,
  ['resident.replies.deliver_error'] = true}
local NO_VALUE = {[''] = true, ['0'] = true, ['[]'] = true}
-- One claim looks at no more ids than this beyond its batch, so that a queue full of expired
-- questions does not stop Redis for long.
local MOST_SKIPPED = 1000
local DEFAULT_HEARTBEAT_S = 420 -- RQ's DEFAULT_WORKER_TTL
local LONGEST_S = 31536000
local DAY_S = '86400'

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

-- Whether a worker of ours holds the job: one of its executions is leased.
local function is_leased(id, executions)
  for _, execution in ipairs(redis.call('ZRANGE', executions, 0, -1)) do
    if type(redis.pcall('ZSCORE', KEYS[7], id .. ':' .. execution)) == 'string' then
      return true
    end
  end
  return false
end

-- What an id is: 'question', 'special', or why it is skipped; its key and its fields.
local function inspect(id)
  if #id > 255 or not string.find(id, '^[A-Za-z0-9_-]+$') then
    return 'malformed'
  end
  local key = prefix .. ':job:' .. id
  local values = redis.pcall('HMGET', key, unpack(FIELDS))
  if values.err then
    redis.call('DEL', key) -- no hash: whatever it is, it is not a job
    return 'malformed'
  end
  local status, kind = values[STATUS], 'question'
  if not status and redis.call('EXISTS', key) == 0 then
    return 'expired'
  end
  if status == 'finished' or status == 'canceled' then
    return 'duplicate'
  end
  local executions, dependents = prefix .. ':executions:' .. id, key .. ':dependents'
  if redis.call('EXISTS', executions, dependents) > 0 then -- rarely: one call for two looks
    if redis.call('TYPE', executions).ok == 'zset'
      and (status == 'started' or is_leased(id, executions)) then
      return 'duplicate'
    end
    kind = redis.call('EXISTS', dependents) == 1 and 'special' or kind
  end
  return uses_more_of_rq(values) and 'special' or kind, key, values
end

-- Ids become the entries of found, a special, or counts of skipped; nothing is written yet.
local found, special, seen, skipped, looked, more = {}, nil, {}, {}, 0, 0
local is_full = max_batch == 0

local function look_at(id)
  local kind, key, values = 'duplicate', nil, nil
  if not seen[id] then
    kind, key, values = inspect(id)
  end
  if kind == 'special' then
    if #found > 0 then
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
    for _, id in ipairs(ids) do
      if is_full or not look_at(id) then
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

-- RQ's terms for a job of this time-out, as text: Redis formats a number of Lua's slowly.
local function terms_of(timeout, s)
  local seconds = tonumber(timeout or '')
  if not seconds or seconds ~= seconds or seconds <= 0 then -- 'nan' is a number to Lua
    seconds = DEFAULT_HEARTBEAT_S
  end
  local ttl = math.floor(math.min(math.max(seconds, tonumber(ARGV[8])), LONGEST_S)) + 60
  return {seconds = ttl, ttl = string.format('%d', ttl), expiry = string.format('%d', s + ttl),
    longer_ttl = string.format('%d', ttl + 60), longer_expiry = string.format('%d', s + ttl + 60)}
end

-- One entry a job in what they share: leases, started registry, the worker's executions.
local function record_batch(s, now_ms)
  local lease_end = string.format('%d', now_ms + tonumber(ARGV[5]))
  local leases, started, members, known = {}, {}, {}, {}
  local longest = {seconds = 0}
  for i, one in ipairs(found) do
    local timeout = one.values[TIMEOUT] or ''
    one.terms = known[timeout] or terms_of(timeout, s)
    known[timeout] = one.terms
    one.member = one.id .. ':' .. one.execution
    leases[2 * i - 1], leases[2 * i] = lease_end, one.member
    started[2 * i - 1], started[2 * i] = one.terms.expiry, one.member
    members[i] = one.member
    if one.terms.seconds > longest.seconds then
      longest = one.terms
    end
  end
  write('ZADD', KEYS[7], unpack(leases))
  redis.call('EXPIRE', KEYS[7], DAY_S)
  write('ZADD', KEYS[4], unpack(started))
  write('SADD', KEYS[6], unpack(members))
  redis.call('EXPIRE', KEYS[6], longest.longer_ttl)
end

-- The job's own records, as RQ writes them; returns what the worker is told of it.
local function start(one, now, now_ms, stamp)
  local left_ms = redis.call('PTTL', one.key)
  redis.call('HSET', one.key, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp,
    'worker_name', name)
  if left_ms >= 0 then
    redis.call('PERSIST', one.key)
  end
  local execution, executions = prefix .. ':execution:' .. one.member, prefix .. ':executions:' .. one.id
  redis.call('HSET', execution, 'id', one.execution, 'job_id', one.id, 'created_at', now,
    'last_heartbeat', now, 'worker_name', name, 'deadline_ms',
    left_ms >= 0 and string.format('%d', now_ms + left_ms) or '-1')
  redis.call('EXPIRE', execution, one.terms.ttl)
  write('ZADD', executions, one.terms.longer_expiry, one.execution)
  redis.call('EXPIRE', executions, one.terms.longer_ttl)

  local data = one.values[DATA] or ''
  local told = {one.id, one.execution, #data <= max_data_bytes and data or '', #data, left_ms}
  for i = FIRST_PLAIN, ON_FAILURE do
    told[#told + 1] = one.values[i] or ''
  end
  return told
end

if redis.call('EXISTS', KEYS[9]) == 1 then
  put_back_what_was_popped()
  return {SUSPENDED, '0', 0}
end
local used_of_popped = look_through(KEYS[2])
local used_of_queue = look_through(KEYS[1])
local is_busy = #found > 0 or special ~= nil
if is_busy ~= (ARGV[7] == '1') then
  write('HSET', KEYS[5], 'state', is_busy and 'busy' or 'idle')
end
if looked == 0 then
  return {QUESTIONS, '0', 0}
end

local s, us, stamp = clock()
local now = string.format('%d.%06d', s, us)
local now_ms = s * 1000 + math.floor(us / 1000)
local result = {special and SPECIAL or QUESTIONS, now, more}
if #found > 0 then
  record_batch(s, now_ms)
  for i, one in ipairs(found) do
    result[3 + i] = start(one, now, now_ms, stamp)
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
  write('HINCRBY', KEYS[8], kind, count)
  redis.call('EXPIRE', KEYS[8], DAY_S)
end
return result
