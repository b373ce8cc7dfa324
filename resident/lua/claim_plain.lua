-- The usual claim, in front of claim.lua, which says what KEYS and ARGV are: questions as our
-- clients ask them, still waiting, in time, and nothing about them or the queue that is unusual.
-- It reads everything before it writes anything but the list; if there is anything else, the ids go
-- back, and claim.lua begins anew. Straight on, with no function made, and with one look at a job's
-- fields, it takes three quarters of the time of claim.lua alone; decision 9.
-- Needs clock.lua, write.lua and deadline.lua in front.

local s, us = now()
local now_ms = s * 1000 + math.floor(us / 1000)

do
  local PLAIN, VALUES = 4, 7 -- what it returns, and of how many values each job is told
  local call, args = redis.call, ARGV -- globals would be looked up each time
  local prefix, name, token, most = args[1], args[2], args[3], tonumber(args[4])
  local job, most_bytes, least_ms = prefix .. ':job:', tonumber(args[6]), tonumber(args[10])
  local keep_ms, reply = tonumber(args[12]), {PLAIN, '0', 0}

  local ids, is_plain = redis.pcall('LPOP', KEYS[2], most) or {}, true
  if not ids.err and #ids < most then
    local waiting = redis.pcall('LPOP', KEYS[1], most - #ids)
    if waiting and waiting.err then
      is_plain = false
    elseif waiting and #ids == 0 then
      ids = waiting
    elseif waiting then
      for i = 1, #waiting do
        ids[#ids + 1] = waiting[i]
      end
    end
  end
  local lanes, seen, executions, lefts_ms = KEYS[9], {}, {}, {}
  -- Not for dependents: settle.lua must look for those that came while the model ran, and finds these.
  is_plain = is_plain and not ids.err
    and call('EXISTS', KEYS[8], lanes .. ':high', lanes .. ':normal', lanes .. ':low') == 0
  for i = 1, is_plain and #ids or 0 do
    local id = ids[i]
    local key = job .. id
    local values = redis.pcall('HMGET', key, 'status', 'data', 'enqueued_at', 'failure_ttl',
      'asked', 'reply_to')
    local left_ms, data, to = call('PTTL', key), values[2], values[6]
    if values[1] ~= 'queued' or not data or #data > most_bytes or not values[3]
      or not values[4] or not values[5] or call('HLEN', key) ~= (to and 11 or 10)
      or left_ms >= 0 and left_ms < least_ms or left_ms > LONGEST_TTL_MS
      or seen[id] or #id > 255 or not string.find(id, '^[A-Za-z0-9_-]+$') then
      is_plain = false
      break
    end
    seen[id] = true
    executions[i], lefts_ms[i] = token .. string.format('%08x', i - 1), left_ms
    local told = 3 + (i - 1) * VALUES -- one behind another: a table for each takes longer than three values
    reply[told + 1], reply[told + 2], reply[told + 3], reply[told + 4] = id, executions[i], values[3], values[4]
    reply[told + 5], reply[told + 6], reply[told + 7] = to or '', values[5] == 'shared' and '1' or '', data
  end

  if is_plain then
    local is_busy = #ids > 0 or args[9] == '1'
    if is_busy ~= (args[7] == '1') then
      if write('HSET', KEYS[5], 'state', is_busy and 'busy' or 'idle') == 1 then
        call('EXPIRE', KEYS[5], '60') -- its worker is gone, or registers again within seconds
      end
    end
    if #ids == 0 then
      return reply
    end
    local stamp, started = stamp_of(s, us), {}
    -- As claim.lua has it: RQ's DEFAULT_WORKER_TTL or the longest batch, and a year at most.
    local expiry = string.format('%d', s + math.min(math.max(tonumber(args[8]), 420), 31536000) + 60)
    for i = 1, #ids do
      local id, execution, left_ms = ids[i], executions[i], lefts_ms[i]
      call('HSET', job .. id, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp,
        'worker_name', name, 'execution', execution)
      if left_ms >= 0 and left_ms < keep_ms then
        call('PEXPIRE', job .. id, string.format('%d', left_ms + TEN_YEARS_MS))
      end
      started[2 * i - 1], started[2 * i] = expiry, id .. ':' .. execution
    end
    local lease_end = string.format('%d', now_ms + args[5])
    if write('ZADD', KEYS[6], lease_end, string.sub(token, 1, 12)) == 1 then
      call('EXPIRE', KEYS[6], '86400')
    end
    write('ZADD', KEYS[4], unpack(started))
    reply[2] = string.format('%d.%06d', s, us)
    return reply
  end
  for i = #ids, 1, -1 do
    write('LPUSH', KEYS[1], ids[i])
  end
end

-- Something is unusual.
