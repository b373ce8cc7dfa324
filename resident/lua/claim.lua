-- claim: takes up to max_batch questions off a task's queue and starts them in RQ's books.
-- A script, because a job must at every moment be on the queue or leased, never between.
-- Also skips what nobody waits for any more (the hash expired: the budget ran out), and what
-- is running or finished already (the same id pushed twice).
--
-- keys.queue         list  rq:queue:<task>                 waiting ids
-- keys.intermediate  list  rq:queue:<task>:intermediate    ids between the blocking pop and here
-- keys.started       zset  rq:wip:<task>                   <job>:<execution> -> expiry, s
-- keys.worker        hash  rq:worker:<name>                state is set to busy
-- keys.executions    set   rq:worker:<name>:executions     what this worker runs
-- keys.leases        zset  resident:leases:<task>          <job>:<execution> -> end, ms
-- keys.metrics       hash  resident:metrics:<task>         counts of what was skipped
-- keys.suspended     string rq:suspended                   there while rq suspend holds
-- args.prefix          RQ's key prefix
-- args.moved           the id that the blocking pop moved to keys.intermediate, or ''
-- args.max_batch       at most so many questions
-- args.name            the worker's name
-- args.token           24 hex digits that no other claim has; execution ids begin with it
-- args.lease_ms        how long a lease lasts
-- args.max_data_bytes  longer job data is not sent, the question is refused
--
-- Returns {code, now in s as text, more, job...}:
--   code 1 questions, 2 one job that needs RQ's own perform_job (it stays in
--   keys.intermediate), 3 suspended (nothing was taken)
--   more: 1 if it stopped after skipping many and should be called again at once
--   a job is {id, execution id, data or '', size of data, ms left or -1, then the fields of
--   PLAIN_FIELDS}
-- Needs clock.lua and write.lua in front.

local PLAIN_FIELDS = {'enqueued_at', 'created_at', 'timeout', 'result_ttl', 'failure_ttl',
  'reply_to', 'success_callback_name', 'failure_callback_name'}
-- A value in one of these sends a job through RQ's own perform_job.
local SPECIAL_FIELDS = {'stopped_callback_name', 'webhooks', 'group_id', 'retries_left',
  'repeats_left', 'rate_limit_key', 'dependency_ids', 'dependency_id'}
local FIELDS = {'status', unpack(PLAIN_FIELDS)}
for _, field in ipairs(SPECIAL_FIELDS) do
  FIELDS[#FIELDS + 1] = field
end
FIELDS[#FIELDS + 1] = 'data'
local FIRST_SPECIAL = 2 + #PLAIN_FIELDS
local DATA = #FIELDS

local OURS = {[''] = true, ['resident.replies.deliver'] = true,
  ['resident.replies.deliver_error'] = true}
-- One claim looks at no more ids than this beyond its batch, so that a queue full of expired
-- questions does not stop Redis for long.
local MOST_SKIPPED = 1000
local DEFAULT_HEARTBEAT_S = 420 -- RQ's DEFAULT_WORKER_TTL
local LONGEST_S = 31536000

local function needs_rq(job_key, values)
  for i = FIRST_SPECIAL, DATA - 1 do
    if values[i] and values[i] ~= '' and values[i] ~= '0' and values[i] ~= '[]' then
      return true
    end
  end
  return not OURS[values[8] or ''] or not OURS[values[9] or '']
    or redis.call('EXISTS', job_key .. ':dependents') == 1
end

-- What an id on the queue is: 'question', 'special', or why it is skipped; and its fields.
local function inspect(prefix, id)
  if #id > 255 or not string.find(id, '^[A-Za-z0-9_-]+$') then
    return 'malformed'
  end
  local key = prefix .. ':job:' .. id
  local values = redis.pcall('HMGET', key, unpack(FIELDS))
  if values.err then
    redis.call('DEL', key) -- no hash: whatever it is, it is not a job
    return 'malformed'
  end
  local status = values[1]
  if not status and redis.call('EXISTS', key) == 0 then
    return 'expired'
  end
  if status == 'finished' or status == 'canceled' or
    (status == 'started' and redis.call('EXISTS', prefix .. ':executions:' .. id) == 1) then
    return 'duplicate'
  end
  return needs_rq(key, values) and 'special' or 'question', values
end

local function heartbeat_s(timeout)
  local seconds = tonumber(timeout or '')
  if not seconds or seconds ~= seconds or seconds <= 0 then -- 'nan' is a number to Lua
    return DEFAULT_HEARTBEAT_S + 60
  end
  return math.floor(math.min(seconds, LONGEST_S)) + 60
end

-- RQ's execution records of one job, as rq.executions.Execution.create writes them.
local function record_execution(prefix, id, execution, started_at, ttl, args, deadline_ms)
  local key = prefix .. ':execution:' .. id .. ':' .. execution
  redis.call('HSET', key, 'id', execution, 'job_id', id, 'created_at', started_at,
    'last_heartbeat', started_at, 'worker_name', args.name, 'deadline_ms', deadline_ms)
  redis.call('EXPIRE', key, ttl)
  local registry = prefix .. ':executions:' .. id
  write('ZADD', registry, math.floor(started_at) + ttl + 60, execution)
  redis.call('EXPIRE', registry, ttl + 60)
end

local function claim(keys, args)
  if redis.call('EXISTS', keys.suspended) == 1 then
    if args.moved ~= '' and redis.call('LREM', keys.intermediate, 1, args.moved) == 1 then
      redis.call('LPUSH', keys.queue, args.moved)
    end
    return {3, '0', 0}
  end

  local s, us, stamp = clock()
  local now = string.format('%d.%06d', s, us)
  local now_ms = s * 1000 + math.floor(us / 1000)
  local found, special, seen, skipped, looked, taken = {}, nil, {}, {}, 0, 0

  -- Looks only; false to stop before this id.
  local function look(id)
    local kind, values = 'duplicate', nil
    if not seen[id] then
      kind, values = inspect(args.prefix, id)
    end
    if kind == 'special' then
      if #found > 0 then
        return false
      end
      special = id
    elseif kind == 'question' then
      found[#found + 1] = {id = id, values = values,
        execution = args.token .. string.format('%08x', #found)}
    else
      skipped[kind] = (skipped[kind] or 0) + 1
    end
    seen[id] = true
    looked = looked + 1
    return true
  end

  local more, go_on = 0, true
  local moved_taken = args.moved == '' or look(args.moved)
  while go_on and not special and #found < args.max_batch do
    local ids = redis.call('LRANGE', keys.queue, taken, taken + args.max_batch - #found - 1)
    if #ids == 0 then
      break
    end
    for _, id in ipairs(ids) do
      if special or not look(id) then
        go_on = false
        break
      end
      taken = taken + 1
    end
    if looked > MOST_SKIPPED + args.max_batch then
      more, go_on = 1, false
    end
  end

  if #found > 0 then
    local leases, started, members = {}, {}, {}
    local longest = 0
    for _, one in ipairs(found) do
      local member = one.id .. ':' .. one.execution
      one.ttl = heartbeat_s(one.values[4])
      longest = math.max(longest, one.ttl)
      leases[#leases + 1], leases[#leases + 2] = now_ms + args.lease_ms, member
      started[#started + 1], started[#started + 2] = s + one.ttl, member
      members[#members + 1] = member
    end
    write('ZADD', keys.leases, unpack(leases))
    redis.call('EXPIRE', keys.leases, 86400)
    write('ZADD', keys.started, unpack(started))
    write('SADD', keys.executions, unpack(members))
    redis.call('EXPIRE', keys.executions, longest + 60)
    write('HSET', keys.worker, 'state', 'busy')
  end

  local result = {special and 2 or 1, now, more}
  for _, one in ipairs(found) do
    local key = args.prefix .. ':job:' .. one.id
    local left_ms = redis.call('PTTL', key)
    local data = one.values[DATA] or ''
    local size = #data
    if size > args.max_data_bytes then
      data = ''
    end
    redis.call('HSET', key, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp,
      'worker_name', args.name)
    redis.call('PERSIST', key)
    record_execution(args.prefix, one.id, one.execution, now, one.ttl, args,
      left_ms >= 0 and now_ms + left_ms or -1)
    local job = {one.id, one.execution, data, size, left_ms}
    for i = 1, #PLAIN_FIELDS do
      job[#job + 1] = one.values[1 + i] or ''
    end
    result[#result + 1] = job
  end

  if special then
    if special ~= args.moved then
      redis.call('RPUSH', keys.intermediate, special)
    end
    result[#result + 1] = {special}
  end
  if taken > 0 then
    redis.call('LTRIM', keys.queue, taken, -1)
  end
  if args.moved ~= '' and moved_taken and special ~= args.moved then
    redis.call('LREM', keys.intermediate, 1, args.moved)
  end
  for kind, count in pairs(skipped) do
    write('HINCRBY', keys.metrics, kind, count)
    redis.call('EXPIRE', keys.metrics, 86400)
  end
  return result
end
