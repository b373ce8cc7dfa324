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
