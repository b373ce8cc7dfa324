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

-- Who asks, and whether the question is there already, in front of ask.lua, which says what KEYS and ARGV
-- are. Ends the script if it is; what else is to be done for an id of the caller's own is `remember`.

local call, args = redis.call, ARGV -- globals would be looked up each time
local job, queue, announcement = KEYS[1], KEYS[2], KEYS[3]
local id, budget_ms, task, failure_ttl = args[1], args[2] + 0, args[3], args[5]
local reply_to, digest, lane, is_read = args[6] or '', args[7] or '', args[8] or '', args[9] == '1'

local rq = string.sub(job, 1, -#id - 5) -- RQ's prefix, with its colon

local remember -- what else is to be done for an id of the caller's own
if digest ~= '' then
  -- A digest outlives the budget by the time that a reply is kept, and the model by two hours.
  local DIGEST_MARGIN_MS = 7200000
  local ANEW_S = 10 -- settle.lua asks the hash for what it claimed over a second ago
  local asked_key, reply_key = 'resident:asked:' .. id, 'resident:reply:' .. id

  local function digest_ttl_ms()
    local kept_ms = tonumber(call('HGET', announcement, 'reply_ttl_ms') or '') or 0
    return string.format('%d', budget_ms + kept_ms + DIGEST_MARGIN_MS)
  end

  -- Whether a reply answers; one that says that the question was not run may be asked for again.
  local function is_answer(reply)
    local code = string.match(reply or '',
      '^{"v":%d+,"id":"[%w_-]+","ok":false,"error":{"code":"(%a+)"')
    return reply and code ~= 'expired' and code ~= 'cancelled'
  end

  -- Whether what stands under an id that none of our clients asked with is this question, and its reply
  -- goes where this caller waits for it: RQ's enqueue and a bare MULTI may have put there anything.
  local function is_this_question()
    local found = call('HMGET', job, 'origin', 'data', 'success_callback_name', 'failure_callback_name', 'reply_to',
      'asked')
    local is_same = found[2] == args[4]
    if found[6] == 'new' then -- by this script, with an id that was made for it; RQ packs what it saves
      return found[1] == task and (is_same or string.sub(found[2] or '', 1, 1) ~= '[')
    end
    return found[1] == task and is_same and found[3] == 'resident.replies.deliver'
      and found[4] == 'resident.replies.deliver_error' and (found[5] or '') == ''
  end

  local asked = call('GET', asked_key)
  local old_reply = call('LINDEX', reply_key, 0)
  local is_there = is_answer(old_reply)
  local status = call('HGET', job, 'status')
  local is_running = status == 'queued' or status == 'started'
  if (is_there or is_running) and asked ~= digest and (asked or status and not is_this_question()) then
    return -3 -- of a reply whose job is gone nobody knows
  end
  if is_there then
    return 3
  end
  if is_running then
    -- It waits, and is put back if its worker dies, for as long as anybody waits for it. The TTL of
    -- one that runs may have been moved on, see deadline.lua: no budget comes near ten years.
    local TEN_YEARS_MS = 315360000000
    local ttl_ms = call('PTTL', job)
    local moved_ms = ttl_ms > TEN_YEARS_MS / 2 and TEN_YEARS_MS or 0
    if ttl_ms >= 0 and ttl_ms - moved_ms < budget_ms then
      call('PEXPIRE', job, string.format('%d', moved_ms + budget_ms))
      call('PEXPIRE', asked_key, digest_ttl_ms())
    end
    return 2
  end

  remember = function()
    if status then
      call('DEL', job, rq .. 'results:' .. id)
    end
    if old_reply then
      call('DEL', reply_key)
    end
    call('SET', asked_key, digest, 'PX', digest_ttl_ms())
    -- An id like those that our clients make may have been one of theirs: somebody deleted the
    -- question while it ran, and settle.lua must not answer this one with that run.
    if #id == 32 and not string.find(id, '[^0-9a-f]') then
      call('SET', string.sub(announcement, 1, -#task - 6) .. 'anew:' .. task, '1', 'EX', ANEW_S)
    end
  end
end

-- ask: writes one question as an RQ job on its task's queue, or says why not.
-- A script, because the refusals, the join and the write must be one decision: nothing is
-- written for a question that is refused, and an id that is asked twice is run once.
--
-- The usual question finds a ready worker, has an id that was made for it, and goes on the task's
-- own queue. What else there is stands in branches: their functions are made when they are needed,
-- and the constants of a job stand here, not in ARGV. That is 3 of 34 us a question, more of one alone.
--
-- KEYS[1] hash   rq:job:<id>             the job
-- KEYS[2] list   rq:queue:<task>         waiting ids; its lanes are RQ queues beside it, with
--                                        ':<lane>' behind its name
-- KEYS[3] hash   resident:task:<task>    what the task's ready workers announce; there is one as
--                                        long as the hash is
-- ARGV[1] id
-- ARGV[2] budget in ms
-- ARGV[3] the task
-- ARGV[4] RQ's job data
-- ARGV[5] how long a failed job is kept, s
-- What follows may be '', and is left out if nothing but '' follows: a value here takes Redis a hundredth of
-- an ask.
-- ARGV[6] the mailbox that the reply goes to, unless it is the id's own key
-- ARGV[7] a digest of the task and the question; none if the id was made for this question, so that nothing
--         can be known of it
-- ARGV[8] the lane: 'high', 'normal' or 'low', with ':<tenant>' behind it if there is one
-- ARGV[9] 1 if the caller reads the answer in deltas
--
-- If a worker listens, nothing of the task waits or runs, and nothing is unusual, the question goes to
-- that worker at once, started in RQ's books as its claim would have it, and the worker is told on a
-- channel. What it offers and what it is told: docs/protocol.md, Offers; made by offer_command in
-- scripts.py, and read in ear.py.
--
-- Keys beside these, their names made of these:
-- set    rq:queues                       names of all queues
-- set    rq:workers:<task>               keys of RQ's workers on this queue
-- stream rq:results:<id>                 RQ's results of an earlier run of this id
-- list   resident:reply:<id>             the reply, if it is there already
-- string resident:asked:<id>             what was asked with an id of the caller's own
-- string resident:anew:<task>            there if such an id looks like one of ours
-- list   resident:lanes:<task>           with ':<priority>' behind it: lanes in which jobs wait
-- list   rq:queue:<task>:popped          ids on their way from the queue to a worker
-- string rq:suspended                    there while rq suspend holds
-- hash   resident:common:<task>          with ':<failure ttl>' behind it, and ':<token>' for those that are
--                                        handed over: the fields that all such jobs have in common
-- zset   rq:wip:<task>                   <job>:<execution> -> expiry, s
-- channel resident:hand:<token>          where a worker hears of what it is handed
--
-- Returns a code, or {code, number, limit} where there are numbers:
--    1 queued, or with an idle worker already
--    2 joined: the same id is waiting or running; its reply will be this one's
--    3 answered: the reply is there
--   -1 no_worker: no worker is ready for the task
--   -2 overloaded: number questions wait, limit are allowed
--   -3 conflict: something else was asked with this id
--   -4 overloaded: an answer would take number ms or more, the budget is limit ms
-- Needs clock.lua and ask_joined.lua in front.

local announced = call('HMGET', announcement, 'max_backlog', 'rate', 'model_ms', 'laned',
  'offer')
local limit = tonumber(announced[1] or '')
if not limit then
  -- Whether a stock RQ worker listens: they register themselves, ours announce when ready.
  local function has_stock_worker()
    local ours = rq .. 'worker:resident-'
    for _, key in ipairs(call('SMEMBERS', rq .. 'workers:' .. task)) do
      if string.sub(key, 1, #ours) ~= ours and call('EXISTS', key) == 1
        and call('HEXISTS', key, 'death') == 0 then
        return true
      end
    end
    return false
  end

  if not has_stock_worker() then
    return -1
  end
  call('SADD', rq .. 'queues', queue) -- ours announce that, too
end

-- Where nothing waits there is nothing to overtake, and an idle worker waits for the queue alone.
local takes_lane = lane ~= '' and limit and call('EXISTS', queue, queue .. ':popped') > 0
local laned = announced[4] and math.max(tonumber(announced[4]) or 0, 0) or 0
local waiting = laned
-- What a worker offers: the token that its executions begin with, how long RQ is to believe in them in
-- s, with less of its budget left a question must be kept from expiring in ms, and the worker's name.
local offer, token, expiry_s, keep_ms, worker = announced[5]
if offer and lane == '' and laned == 0 and not is_read
  and call('EXISTS', rq .. 'wip:' .. task, queue, queue .. ':popped', rq .. 'suspended') == 0
  then
  token, expiry_s, keep_ms, worker = string.match(offer, '^(%x+) (%d+) (%d+) (%S+)$')
end
if takes_lane then
  waiting = waiting + call('LLEN', queue)
elseif not token then -- the push says how many wait; it is taken back if those are too many
  waiting = waiting + call('RPUSH', queue, id) - 1
end
-- How long an answer will take: those that wait, the batch that runs, and its own.
local model_ms = announced[3] and tonumber(announced[3]) or 0
local rate, needed_ms = waiting > 0 and announced[2] and tonumber(announced[2]) or 0, model_ms
if rate > 0 then
  needed_ms = waiting / rate * 1000 + 2 * model_ms
end
local own = string.sub(announcement, 1, -#task - 6) -- our prefix, with its colon
local is_too_long = needed_ms > budget_ms and string.sub(lane, 1, 4) ~= 'high'
if is_too_long and rate > 0 and laned > 0 and string.sub(lane, 1, 3) ~= 'low' then
  -- Of what waits only so much is in front of it: what is high, and as many turns of the queue's own and of
  -- each tenant's as it must wait for (lanes.lua).
  local lanes = own .. 'lanes:' .. task .. ':'
  local function length_of(list) -- nothing where somebody has put what is none
    local length = redis.pcall('LLEN', list)
    return type(length) == 'number' and length or 0
  end
  local before = takes_lane and call('LLEN', queue .. ':' .. lane) or waiting - laned
  local takers = 1 + length_of(lanes .. 'normal') + (takes_lane and before == 0 and 1 or 0)
  -- Each lane that is high has one at least; those of thousands are counted only as far as it matters.
  local ahead = (before + 1) * takers - 1 + length_of(lanes .. 'high')
  local enough = (budget_ms - 2 * model_ms) * rate / 1000
  for _, urgent in ipairs(ahead <= enough and redis.pcall('LRANGE', lanes .. 'high', 0, -1) or {}) do
    ahead = ahead + math.max(length_of(queue .. ':' .. urgent) - 1, 0)
    if ahead > enough then
      break
    end
  end
  needed_ms = math.min(ahead, waiting) / rate * 1000 + 2 * model_ms
  is_too_long = needed_ms > budget_ms
end
if limit and (waiting >= limit or is_too_long) then
  if not takes_lane and not token then
    call('RPOP', queue)
  end
  if waiting >= limit then
    return {-2, waiting, limit}
  end
  return {-4, math.floor(needed_ms), budget_ms}
end

local s, us = now()
local stamp, execution = stamp_of(s, us), nil
if token then
  -- Like no other: nothing of the task runs, so none was handed over in this microsecond, and where
  -- a claim's has its number, which never grows so large, stands an f.
  execution = token .. string.format('f%019x', s * 1000000 + us)
  local LONGEST_S = 31536000 -- see deadline.lua
  local started, member = rq .. 'wip:' .. task, id .. ':' .. execution
  local expiry = string.format('%d', s + math.min(expiry_s, LONGEST_S))
  -- The worker hears of it when this script is over. Until it is told, nothing is written of the job.
  local heard = redis.pcall('ZADD', started, expiry, member)
  if type(heard) == 'number' then
    local told = string.format('%d.%06d', s, us) .. '\n' .. args[2] .. '\n' .. id .. '\n' .. execution .. '\n\n'
      .. failure_ttl .. '\n' .. reply_to .. '\n' .. (digest == '' and '' or '1') .. '\n' .. args[4]
    heard = redis.pcall('PUBLISH', own .. 'hand:' .. token, told)
    if type(heard) ~= 'number' or heard == 0 then
      call('ZREM', started, member)
      call('HDEL', announcement, 'offer')
    end
  end
  if type(heard) ~= 'number' or heard == 0 then
    -- The worker is gone, or this caller may not do so: to the queue after all.
    call('RPUSH', queue, id)
    token = nil
  end
end
if takes_lane then
  -- In front of all that needs no memory: a full Redis refuses a script's first write, and none behind it.
  call('HSET', announcement, 'laned', laned + 1)
end
if remember then
  remember()
end

-- What all jobs of a task have in common is copied from a hash that is kept for a minute; whoever changes
-- these fields gives it another name. The field asked says that all fields of a job are as this script wrote
-- them, as long as there are no more of them; and whether others may ask with the same id.
local COMMON_MS = '60000'
local common = own .. 'common:' .. task .. ':' .. failure_ttl .. (token and ':' .. token or '')
local more, added = nil, 3 -- what else it has of its own, and how many fields of its own are new to what is copied
if token or reply_to ~= '' or is_read then
  more = {}
  if token then
    more, added = {'started_at', stamp, 'last_heartbeat', stamp, 'execution', execution}, 6
  end
  if reply_to ~= '' then
    more[#more + 1], more[#more + 2], added = 'reply_to', reply_to, added + 1
  end
  if is_read then
    more[#more + 1], more[#more + 2], added = 'stream', '1', added + 1
  end
end
repeat -- once, unless somebody has made something else of what is copied: asked was in that, the others were not
  if redis.pcall('COPY', common, job) ~= 1 then
    redis.pcall('DEL', job) -- most often nothing is there, and a caller who may not is served as well
    call('HSET', job, 'status', token and 'started' or 'queued', 'failure_ttl', failure_ttl, 'asked', 'new',
      'origin', task, 'description', 'tasks.' .. task .. '.answer(…)',
      'success_callback_name', 'resident.replies.deliver',
      'failure_callback_name', 'resident.replies.deliver_error')
    if token then
      call('HSET', job, 'worker_name', worker)
    end
    redis.pcall('COPY', job, common, 'REPLACE') -- a caller who may not writes all of each job
    redis.pcall('PEXPIRE', common, COMMON_MS)
  end
  local is_whole = redis.pcall('HSET', job, 'data', args[4], 'enqueued_at', stamp, 'created_at', stamp,
    'asked', remember and 'shared' or 'new', unpack(more or args, 1, more and #more or 0)) == added
  if not is_whole then
    call('DEL', job, common)
  end
until is_whole
if not token then
  call('PEXPIRE', job, args[2])
else
  local TEN_YEARS_MS = 315360000000 -- see deadline.lua
  local is_short = budget_ms < tonumber(keep_ms)
  call('PEXPIRE', job, is_short and string.format('%d', budget_ms + TEN_YEARS_MS) or args[2])
end
if takes_lane then
  local target, index = queue .. ':' .. lane, own .. 'lanes:' .. task .. ':' .. string.match(lane, '^%a+')
  call('HSET', job, 'lane', lane)
  local is_first = call('RPUSH', target, id) == 1
  -- What others put into an empty lane does not name it, and nobody would ever take from it.
  if is_first or call('EXISTS', index) == 0
    or redis.pcall('HGET', rq .. 'job:' .. call('LINDEX', target, 0), 'lane') ~= lane then
    local place = redis.pcall('LPOS', index, lane) -- there from when somebody else emptied it
    if type(place) == 'table' and string.sub(place.err, 1, 9) == 'WRONGTYPE' then
      call('DEL', index)
    elseif type(place) == 'table' then -- a caller who may not look for it reads all
      for number, named in ipairs(redis.pcall('LRANGE', index, 0, -1)) do
        place = named == lane and number or place
      end
    end
    if type(place) ~= 'number' then
      call('RPUSH', index, lane)
      redis.pcall('SADD', rq .. 'queues', target)
    end
  end
end
return 1
