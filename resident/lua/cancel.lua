-- cancel: takes a question back that its caller does not want any more.
-- A script, because it is either taken off the queue before anybody claims it, or marked for the
-- worker that runs it, and its waiters are told at once.
--
-- KEYS[1] hash rq:job:<id>                 the job
-- KEYS[2] list resident:reply:<id>         where others may wait for the same reply
-- KEYS[3] string resident:cancelled:<id>   which call cancelled it last, and what it did
-- ARGV[1] id
-- ARGV[2] RQ's key prefix
-- ARGV[3] in front of Resident's own keys that are about a task
-- ARGV[4] the reply, which says that it was cancelled
-- ARGV[5] how long an unread reply is kept, ms
-- ARGV[6] '' or 32 hex digits that no other call has: whoever lost the answer sends them again, and
--         is told what the first try did
--
-- Returns 0 there is nothing to cancel (no such question, or it has ended), 1 it will never run,
-- 2 it runs, and its answer will be dropped.
-- Needs clock.lua, write.lua and lanes.lua in front.

local NOTHING, NEVER_RUNS, DROPPED = 0, 1, 2
local function done_before()
  local record = redis.pcall('GET', KEYS[3])
  local token, code = string.match(type(record) == 'string' and record or '', '^(%x+) (%d)$')
  return token == ARGV[6] and tonumber(code)
end

local done = ARGV[6] ~= '' and done_before()
if done then
  return done
end
local state = redis.call('HMGET', KEYS[1], 'status', 'origin', 'lane', 'reply_to', 'execution')
local status, task, lane = state[1], state[2] or '', state[3]
if status ~= 'queued' and status ~= 'started' then
  return NOTHING
end

local function reply(code)
  local to = state[4] or ''
  if #to ~= #'resident:mailbox:' + 32 or not string.find(to, '^resident:mailbox:[0-9a-f]+$') then
    to = KEYS[2]
  end
  write('RPUSH', to, ARGV[4])
  redis.call('PEXPIRE', to, ARGV[5])
  if ARGV[6] ~= '' then
    redis.call('SET', KEYS[3], ARGV[6] .. ' ' .. code, 'PX', ARGV[5])
  end
  return code
end

if status == 'started' then
  -- No execution of it is its holder any more, so it is neither answered again nor put back.
  write('ZREM', ARGV[2] .. ':wip:' .. task, ARGV[1] .. ':' .. (state[5] or ''))
  -- Nor does the registry say any more that its worker, which may offer itself, is at it.
  redis.pcall('HDEL', ARGV[3] .. ':task:' .. task, 'offer')
  redis.call('HSET', KEYS[1], 'status', 'canceled', 'execution', 'cancelled')
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return reply(DROPPED)
end
local queue, own = ARGV[2] .. ':queue:' .. task, ARGV[3]
redis.call('LREM', queue, 1, ARGV[1])
redis.call('LREM', queue .. ':popped', 1, ARGV[1])
if lane and redis.pcall('LREM', queue .. ':' .. lane, 1, ARGV[1]) == 1 then
  local announcement = own .. ':task:' .. task
  local laned = tonumber(redis.pcall('HGET', announcement, 'laned') or '') or 0
  if laned > 0 then
    redis.call('HSET', announcement, 'laned', laned - 1)
  end
  if redis.call('EXISTS', queue .. ':' .. lane) == 0 then
    redis.pcall('LREM', own .. ':lanes:' .. task .. ':' .. string.match(lane, '^%a*'), 0, lane)
    redis.pcall('SREM', ARGV[2] .. ':queues', queue .. ':' .. lane)
  end
end
redis.call('DEL', KEYS[1])
reply(NEVER_RUNS)
if redis.call('EXISTS', queue) == 0 then -- a worker waits for the queue, not for its lanes
  arrange(queue, own .. ':lanes:' .. task, ARGV[2] .. ':queues', own .. ':task:' .. task, 1)
end
return NEVER_RUNS
