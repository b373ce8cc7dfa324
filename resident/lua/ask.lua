-- ask: writes one question as an RQ job on its task's queue, or says why not.
-- A script, because the refusals, the join and the write must be one decision: nothing is
-- written for a question that is refused, and an id that is asked twice is run once.
--
-- KEYS[1] hash   rq:job:<id>             the job
-- KEYS[2] list   rq:queue:<task>         waiting ids
-- KEYS[3] set    rq:queues               names of all queues
-- KEYS[4] list   resident:reply:<id>     the reply, if it is there already
-- KEYS[5] stream rq:results:<id>         RQ's results of an earlier run of this id
-- KEYS[6] hash   resident:task:<task>    what the task's ready workers announce; there is one as
--                                        long as the hash is
-- KEYS[7] set    rq:workers:<task>       keys of RQ's workers on this queue
-- ARGV[1] id
-- ARGV[2] budget in ms
-- ARGV[3] '<RQ prefix>:worker:resident-', how the keys of our own workers begin
-- ARGV[4] 1 if the id was made for this question, so that nothing can be known of it
-- ARGV[5...] fields and values of the job hash, without status, created_at and enqueued_at
--
-- Returns {code, number, limit}:
--    1 queued
--    2 joined: the same id is waiting or running; its reply will be this one's
--    3 answered: the reply is there
--   -1 no_worker: no worker is ready for the task
--   -2 overloaded: number questions wait, limit are allowed
-- Needs clock.lua in front.

-- Whether a stock RQ worker listens: they register themselves, ours announce when ready.
local function has_stock_worker(workers_key, ours)
  for _, key in ipairs(redis.call('SMEMBERS', workers_key)) do
    if string.sub(key, 1, #ours) ~= ours and redis.call('EXISTS', key) == 1
      and redis.call('HEXISTS', key, 'death') == 0 then
      return true
    end
  end
  return false
end

local job, queue = KEYS[1], KEYS[2]
local id, budget_ms = ARGV[1], tonumber(ARGV[2])

local status = false
if ARGV[4] ~= '1' then
  if redis.call('EXISTS', KEYS[4]) == 1 then
    return {3, 0, 0}
  end
  status = redis.call('HGET', job, 'status')
end
if status == 'queued' or status == 'started' then
  local left_ms = redis.call('PTTL', job)
  if status == 'queued' and left_ms >= 0 and left_ms < budget_ms then
    redis.call('PEXPIRE', job, budget_ms)
  end
  return {2, 0, 0}
end

local limit = redis.call('HGET', KEYS[6], 'max_backlog')
if not limit then
  if not has_stock_worker(KEYS[7], ARGV[3]) then
    return {-1, 0, 0}
  end
  redis.call('SADD', KEYS[3], queue) -- ours announce that, too
end
-- Taken back if that is too many: the push says how many wait, and nobody sees it before the end.
local waiting = redis.call('RPUSH', queue, id) - 1
if limit and waiting >= tonumber(limit) then
  redis.call('RPOP', queue)
  return {-2, waiting, tonumber(limit)}
end

local stamp = stamp_of(now())
if status then
  redis.call('DEL', job, KEYS[5])
end
redis.call('HSET', job, 'status', 'queued', 'created_at', stamp, 'enqueued_at', stamp,
  unpack(ARGV, 5))
redis.call('PEXPIRE', job, ARGV[2])
return {1, 0, 0}
