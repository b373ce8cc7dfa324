-- Redis' clock, in front of every script that needs it.

-- Seconds and microseconds.
local function now()
  local time = redis.call('TIME')
  return time[1] + 0, time[2] + 0 -- half of what tonumber takes
end

-- A moment as RQ writes times: 2026-11-23T08:09:10.000001Z (UTC).
-- The calendar is Hinnant's days-to-civil; Redis' Lua has no os.date. Written out without a
-- function for the quotients, it takes 0.7 instead of 1.5 us.
local function stamp_of(s, us)
  local days = (s - s % 86400) / 86400 + 719468
  local day_of_era = days % 146097
  local year_of_era = day_of_era - (day_of_era - day_of_era % 1460) / 1460
    + (day_of_era - day_of_era % 36524) / 36524 - (day_of_era - day_of_era % 146096) / 146096
  year_of_era = (year_of_era - year_of_era % 365) / 365
  local day_of_year = day_of_era - 365 * year_of_era - (year_of_era - year_of_era % 4) / 4
    + (year_of_era - year_of_era % 100) / 100
  local month = (5 * day_of_year + 2) / 153 -- from March, counted from 0
  month = month - month % 1
  local days_before = (153 * month + 2) / 5
  local day = day_of_year - (days_before - days_before % 1) + 1
  local year = year_of_era + (days - day_of_era) / 146097 * 400
  if month < 10 then
    month = month + 3
  else
    month, year = month - 9, year + 1
  end
  local second = s % 86400
  -- %d cuts off what is behind the point.
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day, second / 3600,
    second / 60 % 60, second % 60, us)
end

-- A write to a record of ours or RQ's, in front of the scripts that need it.
-- Whoever can write to Redis can put a string where a list belongs, a word where a counter
-- belongs, or the last possible id at the end of a stream. Such a thing is no record, so it makes
-- room, and no worker is held up by it. Every other error (out of memory) is met twice, and ends the script.
local function write(command, key, ...)
  local result = redis.pcall(command, key, ...)
  if type(result) ~= 'table' or not result.err then
    return result
  end
  local reason, is_counter = result.err, false
  for _, words in ipairs({'not an integer', 'not a float', 'overflow', 'NaN or Infinity'}) do
    is_counter = is_counter or string.find(reason, words, 1, true)
  end
  if string.sub(reason, 1, 9) == 'WRONGTYPE' or string.find(reason, 'exhausted', 1, true) then
    redis.call('DEL', key)
  elseif is_counter then
    redis.call('HDEL', key, (...))
  end -- error(reason) would hide from Redis 7 which kind of error it is
  return redis.call(command, key, ...)
end

-- The lanes of a queue, in front of the scripts that take from it.
-- A lane is an RQ queue beside the task's own: <queue>:<priority>, or <queue>:<priority>:<tenant>.
-- It holds questions only while the task's own queue holds some, so that a worker that waits needs
-- to look at one list. The lists <lanes>:high, <lanes>:normal and <lanes>:low name the lanes in which
-- questions wait, next one leftmost; each gives one and goes to the end, so that none starves.

local function next_of_lane(queue, index, queues)
  while true do
    local lane = redis.pcall('LPOP', index)
    if type(lane) ~= 'string' then
      if lane then
        redis.call('DEL', index) -- no list: whatever it is, it names no lanes
      end
      return nil
    end
    local list = queue .. ':' .. lane
    local id = redis.pcall('LPOP', list)
    if type(id) == 'table' then
      redis.call('DEL', list)
    end
    if redis.call('EXISTS', list) == 1 then
      redis.call('RPUSH', index, lane)
    else
      redis.pcall('SREM', queues, list)
    end
    if type(id) == 'string' then
      return id
    end
  end
end

-- Puts so many ids to the front of the queue, in the order in which they are to be taken: those of
-- high priority, the queue's own by turns with its tenants', those of low priority.
local function arrange(queue, lanes, queues, announcement, most)
  local ids, laned = {}, 0
  local function take(index)
    local id = #ids < most and next_of_lane(queue, index, queues)
    if id then
      ids[#ids + 1] = id
      laned = laned + 1
    end
    return id
  end
  while take(lanes .. ':high') do end
  local normal = lanes .. ':normal'
  repeat
    local own = #ids < most and redis.call('LPOP', queue)
    if own then
      ids[#ids + 1] = own
    end
    local turns = redis.pcall('LLEN', normal)
    turns = type(turns) == 'number' and turns or 0
    for _ = 1, turns do
      take(normal)
    end
  until #ids >= most or not own and turns == 0
  while take(lanes .. ':low') do end
  for i = #ids, 1, -1 do
    redis.call('LPUSH', queue, ids[i])
  end
  if redis.call('EXISTS', announcement) == 1 then
    local left = redis.call('EXISTS', lanes .. ':high', normal, lanes .. ':low')
    if left == 0 then
      redis.call('HDEL', announcement, 'laned')
    elseif laned > 0 then
      local before = tonumber(redis.call('HGET', announcement, 'laned') or '') or 0
      redis.call('HSET', announcement, 'laned', math.max(before - laned, 0))
    end
  end
end

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
