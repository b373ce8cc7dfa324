-- claim: takes up to max_batch questions off a task's queue and starts them in RQ's books.
-- A script, because a job must at every moment be on the queue or started, never between.
-- Also skips what nobody waits for any more (the hash expired: the budget ran out), and what
-- is running or finished already (the same id pushed twice).
-- RQ's execution records come later, and only for a job that runs long: see tick.lua.
--
-- KEYS[1] list   rq:queue:<task>                 waiting ids
-- KEYS[2] list   rq:queue:<task>:popped          ids that a blocking pop of ours took off the
--                                                queue in front of this call; they come first
-- KEYS[3] list   rq:queue:<task>:intermediate    RQ's own, for a job that it shall perform
-- KEYS[4] zset   rq:wip:<task>                   <job>:<execution> -> expiry, s
-- KEYS[5] hash   rq:worker:<name>                its state: busy, or idle if there is nothing; and
--                                                special: what it takes for RQ's perform_job
-- KEYS[6] zset   resident:leases:<task>          worker's token -> end of its lease, ms
-- KEYS[7] hash   resident:metrics:<task>         counts of what was skipped
-- KEYS[8] string rq:suspended                    there while rq suspend holds
-- KEYS[9] list   resident:lanes:<task>           see lanes.lua
-- KEYS[10] set   rq:queues                       names of all queues
-- KEYS[11] hash  resident:task:<task>            how many questions wait in lanes
-- ARGV[1] RQ's key prefix
-- ARGV[2] the worker's name
-- ARGV[3] 24 hex digits that no other claim has, the worker's token in front; execution ids begin
--         with them
-- ARGV[4] at most so many questions
-- ARGV[5] how long the worker's lease lasts from now, ms; always, since this call may have been on
--         its way for so long that its worker is dead and buried
-- ARGV[6] longer job data is not sent, the question is refused; bytes
-- ARGV[7] 1 if the worker's state is busy already
-- ARGV[8] the longest that a batch may take, s; RQ must not think a job abandoned before
-- ARGV[9] 1 if more is claimed for a batch that there is already; then no job that must be alone
-- ARGV[10] with less of its budget left a question is too late to be answered in time, ms; it is
--          not run, and its caller is told so at once. A job that replies to nobody is run
-- ARGV[11] how long an unread reply is kept, ms
-- ARGV[12] with less of its budget left a job must be kept from expiring at once, ms; else a tick
--          will do it in time
--
-- Returns {code, now in s as text, more, job...}:
--   code 1 questions, 2 one job that needs RQ's own perform_job, on KEYS[3] now, 3 suspended:
--   nothing was taken, 4 questions as our clients ask them, of which claim_plain.lua took all
--   more: 1 if it stopped after skipping many and should be called again at once
--   a job is {id, execution id, enqueued_at, failure_ttl, reply_to, 1 if only its hash says whose it is
--   or '', data}; with code 4 these stand one behind another, in no table of their own; one that is no
--   question as our clients ask it has data '' if it is too long, and adds created_at ('' if it is
--   enqueued_at), both callbacks, size of data if it is over the limit, else 0, and the values of RARE up
--   to stream; its deaths are '' or how many workers died with it, in words if that ends it; see release.lua
-- Needs clock.lua, write.lua, deadline.lua, claim_plain.lua and lanes.lua in front.

local QUESTIONS, SPECIAL, SUSPENDED = 1, 2, 3
-- The fields of a question as our clients ask it. A hash that has no more than these has none of
-- RARE, which saves looking for them: 3 of 9 us a job.
local PLAIN = {'status', 'data', 'enqueued_at', 'created_at', 'failure_ttl',
  'success_callback_name', 'failure_callback_name', 'reply_to', 'origin', 'description', 'asked'}
local STATUS, DATA, ENQUEUED_AT, CREATED_AT, FAILURE_TTL, ON_SUCCESS, ON_FAILURE, REPLY_TO =
  1, 2, 3, 4, 5, 6, 7, 8
-- Those behind execution send a job through RQ's own perform_job if they have a value.
local RARE = {'timeout', 'result_ttl', 'deaths', 'stream', 'execution',
  'stopped_callback_name', 'webhooks', 'group_id', 'retries_left', 'repeats_left',
  'rate_limit_key', 'dependency_ids', 'dependency_id'}
local TIMEOUT, DEATHS, STREAM, EXECUTION = 1, 3, 4, 5
local NONE = {}
local OURS = {[''] = true, ['resident.replies.deliver'] = true,
  ['resident.replies.deliver_error'] = true}
-- One claim looks at no more ids than this beyond its batch, so that a queue full of expired
-- questions does not stop Redis for long.
local MOST_SKIPPED = 1000
local TOKEN_LENGTH = 12
local MAILBOX_LENGTH = #'resident:mailbox:' + 32
local DEFAULT_HEARTBEAT_S = 420 -- RQ's DEFAULT_WORKER_TTL
local LONGEST_S = 31536000
local DAY_S = '86400'

local prefix, name, token, max_batch = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local adds, least_ms = ARGV[9] == '1', tonumber(ARGV[10])

local function uses_more_of_rq(values, rare)
  for i = EXECUTION + 1, #RARE do
    local value = rare[i]
    if value and value ~= '' and value ~= '0' and value ~= '[]' then
      return true
    end
  end
  return not OURS[values[ON_SUCCESS] or ''] or not OURS[values[ON_FAILURE] or '']
end

-- Whether the execution that a job names still runs; a lease that has ended holds nothing.
local function is_running(id, execution)
  if not redis.pcall('ZSCORE', KEYS[4], id .. ':' .. execution) then -- an error is no registry
    return false
  end
  local lease_end = redis.pcall('ZSCORE', KEYS[6], string.sub(execution, 1, TOKEN_LENGTH))
  return type(lease_end) == 'string' and tonumber(lease_end) > now_ms
end

-- What an id is: 'question', 'special', or why it is skipped; its plain and its rare fields.
local function inspect(id, key, may_have_dependents)
  if #id > 255 or not string.find(id, '^[A-Za-z0-9_-]+$') then
    return 'malformed'
  end
  local values = redis.pcall('HMGET', key, unpack(PLAIN))
  if values.err then
    redis.call('DEL', key) -- no hash: whatever it is, it is not a job
    return 'malformed'
  end
  local size, plain, rare = redis.call('HLEN', key), 0, NONE
  if size == 0 then
    return 'expired'
  end
  local status = values[STATUS]
  if status == 'finished' or status == 'failed' or status == 'canceled' then
    return 'duplicate' -- whoever runs one of them again puts it back as queued
  end
  for i = 1, #PLAIN do
    plain = plain + (values[i] and 1 or 0)
  end
  if plain < size then
    rare = redis.call('HMGET', key, unpack(RARE))
  end
  local execution = rare[EXECUTION]
  if execution and is_running(id, execution) then
    return 'duplicate'
  end
  if status == 'started' and not execution
    and redis.call('TYPE', prefix .. ':executions:' .. id).ok == 'zset' then
    return 'duplicate' -- a stock worker runs it
  end
  if may_have_dependents and redis.call('EXISTS', key .. ':dependents') == 1 then
    return 'special', values, rare
  end
  return uses_more_of_rq(values, rare) and 'special' or 'question', values, rare
end

-- When RQ may think a job of this time-out abandoned, in s as text: Redis formats a number of
-- Lua's slowly.
local expiries = {}
local function expiry_of(timeout)
  if not expiries[timeout] then
    local seconds = tonumber(timeout)
    if not seconds or seconds ~= seconds or seconds <= 0 then -- 'nan' is a number to Lua
      seconds = DEFAULT_HEARTBEAT_S
    end
    seconds = math.min(math.max(seconds, tonumber(ARGV[8])), LONGEST_S)
    expiries[timeout] = string.format('%d', s + math.floor(seconds) + 60)
  end
  return expiries[timeout]
end

-- Answers a question that cannot be answered in time any more.
local function refuse(id, key, values)
  redis.call('DEL', key)
  local to = values[REPLY_TO] or ''
  if #to ~= MAILBOX_LENGTH or not string.find(to, '^resident:mailbox:[0-9a-f]+$') then
    to = 'resident:reply:' .. id
  end
  write('RPUSH', to, '{"v":1,"id":"' .. id .. '","ok":false,"error":{"code":"expired","message":'
    .. '"Too little of the budget was left to answer in time"}}')
  redis.call('PEXPIRE', to, ARGV[11])
end

-- What the worker is told of a job; see above.
local function told_of(id, execution, values, rare)
  local data, enqueued_at, created_at = values[DATA] or '', values[ENQUEUED_AT] or '',
    values[CREATED_AT] or ''
  local is_long, is_dated = #data > tonumber(ARGV[6]), created_at ~= enqueued_at
  local told = {id, execution, enqueued_at, values[FAILURE_TTL] or '', values[REPLY_TO] or '', '1',
    is_long and '' or data}
  local is_usual = not is_long and not is_dated and data ~= ''
    and values[ON_SUCCESS] == 'resident.replies.deliver'
    and values[ON_FAILURE] == 'resident.replies.deliver_error'
  local more = {is_dated and created_at or '', values[ON_SUCCESS] or '', values[ON_FAILURE] or '',
    is_long and #data or 0}
  for i = TIMEOUT, STREAM do
    more[#more + 1] = rare[i] or ''
    is_usual = is_usual and more[#more] == ''
  end
  for i = 1, is_usual and 0 or #more do
    told[#told + 1] = more[i]
  end
  return told
end

local jobs, started, stamp = {}, {}, nil

-- The job's own state, as RQ writes it, and which execution it is; notes what the worker is told
-- of it. An execution before this one has lost the job, whatever its worker still means to do.
-- False if it is too late for that.
local function start(id, key, values, rare)
  local left_ms = keep_deadline(key, tonumber(ARGV[12]))
  local is_verdict = rare[DEATHS] and not tonumber(rare[DEATHS]) -- which is reported, not run
  -- For RQ a job's ttl is how long it may wait: only whoever waits for a reply has a budget.
  if left_ms >= 0 and left_ms < least_ms and not is_verdict
    and values[ON_FAILURE] == 'resident.replies.deliver_error' then
    refuse(id, key, values)
    return false
  end
  if rare[EXECUTION] then
    write('ZREM', KEYS[4], id .. ':' .. rare[EXECUTION])
  end
  stamp = stamp or stamp_of(s, us)
  local execution = token .. string.format('%08x', #jobs)
  redis.call('HSET', key, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp,
    'worker_name', name, 'execution', execution)
  started[#started + 1] = expiry_of(rare[TIMEOUT] or '')
  started[#started + 1] = id .. ':' .. execution
  jobs[#jobs + 1] = told_of(id, execution, values, rare)
  return true
end

-- Ids become jobs, a special, or counts of skipped.
local special, seen, skipped, looked, more = nil, {}, {}, 0, 0
local is_full, is_suspended, has_lanes = false, false, false

-- False if the id must wait for a claim of its own.
local function look_at(id, may_have_dependents)
  local kind, key, values, rare = 'duplicate', prefix .. ':job:' .. id, nil, NONE
  if not seen[id] then
    kind, values, rare = inspect(id, key, may_have_dependents)
  end
  local is_alone = kind == 'special' or kind == 'question' and (rare[DEATHS] or '') ~= ''
  if is_alone and (#jobs > 0 or adds) then
    return false
  end
  if kind == 'special' then
    special = id
    if rare[EXECUTION] then -- of an earlier run; release.lua would take it for this one
      write('ZREM', KEYS[4], id .. ':' .. rare[EXECUTION])
      redis.call('HDEL', key, 'execution')
    end
  elseif kind ~= 'question' then
    skipped[kind] = (skipped[kind] or 0) + 1
  elseif not start(id, key, values, rare) then
    skipped.late, is_alone = (skipped.late or 0) + 1, false
  end
  is_full = is_alone or #jobs == max_batch
  seen[id] = true
  looked = looked + 1
  return true
end

local high, normal, low = KEYS[9] .. ':high', KEYS[9] .. ':normal', KEYS[9] .. ':low'
local is_arranged = false

-- Whether the workers are suspended, whether questions wait in lanes, and whether other jobs depend
-- on any of these: none is often so, and one call looks for all of it. claim_plain.lua does not look for
-- the last, since settle.lua finds them; here, too, a question could do without, but not a job of RQ's.
local function look_around(ids)
  local rarities = {KEYS[8], high, normal, low}
  for i, id in ipairs(ids) do
    rarities[i + 4] = prefix .. ':job:' .. id .. ':dependents'
  end
  if redis.call('EXISTS', unpack(rarities)) == 0 then
    return false
  end
  is_suspended = redis.call('EXISTS', KEYS[8]) == 1
  has_lanes = not is_arranged and redis.call('EXISTS', high, normal, low) > 0
  return true
end

-- Takes from the left of a list until there is enough.
local function take_from(list)
  while not is_full do
    local wanted = max_batch - #jobs
    local ids = redis.pcall('LPOP', list, wanted)
    if not ids or ids.err then
      if ids then
        redis.call('DEL', list) -- no list: whatever it is, no ids wait there
      end
      return
    end
    local may_have_dependents = look_around(ids)
    is_full = is_suspended or has_lanes
    for i, id in ipairs(ids) do
      if is_full or not look_at(id, may_have_dependents) then
        for back = #ids, i, -1 do
          redis.call('LPUSH', list, ids[back])
        end
        is_full = true
        return
      end
    end
    if #ids < wanted then
      return
    end
    if looked > MOST_SKIPPED + max_batch then
      more, is_full = 1, true
    end
  end
end

take_from(KEYS[2])
take_from(KEYS[1])
if looked == 0 then
  look_around({})
end
if is_suspended or has_lanes then
  while type(redis.pcall('LMOVE', KEYS[2], KEYS[1], 'RIGHT', 'LEFT')) == 'string' do end
end
if is_suspended then
  return {SUSPENDED, '0', 0}
end
if has_lanes then
  arrange(KEYS[1], KEYS[9], KEYS[10], KEYS[11], max_batch)
  is_arranged, has_lanes, is_full = true, false, false
  take_from(KEYS[1])
  if redis.call('EXISTS', KEYS[1]) == 0 then -- none may wait in lanes alone
    arrange(KEYS[1], KEYS[9], KEYS[10], KEYS[11], 1)
  end
end
-- Writes into RQ's record of the worker; one of a worker that is gone goes, too.
local function note_of_worker(field, value)
  write('HSET', KEYS[5], field, value)
  if redis.call('HEXISTS', KEYS[5], 'birth') == 0 then
    redis.call('EXPIRE', KEYS[5], '60') -- or it registers again within seconds
  end
end

local is_busy = #jobs > 0 or special ~= nil or adds
if is_busy ~= (ARGV[7] == '1') then
  note_of_worker('state', is_busy and 'busy' or 'idle')
end
if looked == 0 then
  return {QUESTIONS, '0', 0}
end
if #jobs > 0 then
  local lease_end = string.format('%d', now_ms + ARGV[5])
  if write('ZADD', KEYS[6], lease_end, string.sub(token, 1, TOKEN_LENGTH)) == 1 then
    redis.call('EXPIRE', KEYS[6], DAY_S)
  end
  write('ZADD', KEYS[4], unpack(started))
end
if special then
  write('RPUSH', KEYS[3], special)
  note_of_worker('special', special)
  jobs = {{special}}
end
for kind, count in pairs(skipped) do
  write('HINCRBY', KEYS[7], kind, count)
  redis.call('EXPIRE', KEYS[7], DAY_S)
end
return {special and SPECIAL or QUESTIONS, string.format('%d.%06d', s, us), more, unpack(jobs)}
