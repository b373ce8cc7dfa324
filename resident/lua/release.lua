-- release: puts jobs that a worker holds but will not answer back to the front of their queue.
-- A script, because a job must at every moment be on the queue or leased, never between.
-- What is left of its budget becomes the hash's TTL again; a job whose budget has run out
-- meanwhile is dropped, since nobody waits for it. One that is answered and was not filed goes to
-- its registry instead; its result has gone to the caller alone.
--
-- KEYS[1] list  rq:queue:<task>                waiting ids
-- KEYS[2] zset  rq:wip:<task>                  <job>:<execution> -> expiry, s
-- KEYS[3] set   rq:worker:<name>:executions    what this worker has run for long
-- KEYS[4] zset  resident:leases:<task>         job -> end of its lease, ms
-- KEYS[5] hash  resident:metrics:<task>        how many had expired
-- KEYS[6] zset  rq:finished:<task>             job -> expiry, s
-- KEYS[7] zset  rq:failed:<task>               job -> expiry, s
-- ARGV[1]      RQ's key prefix
-- ARGV[2...]   job id, execution id, in the order of the claim
--
-- Returns how many went back.
-- Needs clock.lua, write.lua and deadline.lua in front.

local queue, started, executions, leases, metrics = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local registry_of = {finished = KEYS[6], failed = KEYS[7]}

local function put_back(id, job)
  if restore_deadline(job) == 0 then
    redis.call('DEL', job)
    write('HINCRBY', metrics, 'expired', 1)
    redis.call('EXPIRE', metrics, 86400)
    return 0
  end
  write('HSET', job, 'status', 'queued', 'started_at', '', 'worker_name', '')
  write('LPUSH', queue, id)
  return 1
end

-- A job that is queued and was last run by this worker was asked a second time by hand while it ran;
-- a claim has skipped that id, so nobody else brings it back.
local function read_state(job)
  local state = redis.pcall('HMGET', job, 'status', 'execution')
  return state[1], state[2]
end

-- RQ's score: +inf for a finished job that is kept for ever, -1 for a failed one.
local function file(id, job, status)
  local left_s = redis.call('TTL', job)
  local s = now()
  write('ZADD', registry_of[status],
    left_s >= 0 and s + left_s or status == 'finished' and '+inf' or -1, id)
end

-- Without RQ's registry the lease alone must do; whatever is in its place makes room.
local kind = redis.call('TYPE', started).ok
local has_registry = kind == 'zset' or kind == 'none'

-- Ends what holds a job; false if the worker does not hold it. This first write needs no memory,
-- and Redis refuses none that come after it in a script.
local function let_go(id, member)
  local was_started = write('ZREM', started, member) == 1
  if not was_started and has_registry then
    return false
  end
  return write('ZREM', leases, id) == 1 or has_registry
end

local released = 0
for i = #ARGV - 1, 2, -2 do
  local id, execution = ARGV[i], ARGV[i + 1]
  local member = id .. ':' .. execution
  if let_go(id, member) then
    local job = ARGV[1] .. ':job:' .. id
    redis.call('DEL', ARGV[1] .. ':execution:' .. member)
    write('ZREM', ARGV[1] .. ':executions:' .. id, execution)
    write('SREM', executions, member)
    local status, last_execution = read_state(job)
    if registry_of[status] then
      file(id, job, status)
    elseif status == 'started' or status == 'queued' and last_execution == execution then
      released = released + put_back(id, job)
    end -- else it was cancelled, deleted or asked anew, and is none of this worker's any more
  end
end
return released
