-- What claim_plain.lua writes when it claims.
local s, us = now()

do
  local call, args, most = redis.call, ARGV, tonumber(ARGV[4])
  local job, token, name = args[1] .. ':job:', args[3], args[2]
  local ids = call('LPOP', KEYS[2], most) or {}
  for _, id in ipairs(#ids < most and call('LPOP', KEYS[1], most - #ids) or {}) do
    ids[#ids + 1] = id
  end
  local is_busy = #ids > 0 or args[9] == '1'
  if is_busy ~= (args[7] == '1') then
    call('HSET', KEYS[5], 'state', is_busy and 'busy' or 'idle')
  end
  if #ids == 0 then
    return {4, '0', 0}
  end
  local reply, started, stamp = {4, string.format('%d.%06d', s, us), 0}, {}, stamp_of(s, us)
  local expiry = string.format('%d', s + 480)
  for i = 1, #ids do
    local id, execution = ids[i], token .. string.format('%08x', i - 1)
    local values = call('HMGET', job .. id, 'data', 'enqueued_at', 'failure_ttl', 'reply_to')
    call('HSET', job .. id, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp,
      'worker_name', name, 'execution', execution)
    for number, value in ipairs({id, execution, values[2], values[3], values[4] or '', '', values[1]}) do
      reply[7 * i - 4 + number] = value
    end
    started[2 * i - 1], started[2 * i] = expiry, id .. ':' .. execution
  end
  local lease_end = string.format('%d', s * 1000 + math.floor(us / 1000) + args[5])
  call('ZADD', KEYS[6], lease_end, string.sub(token, 1, 12))
  call('ZADD', KEYS[4], unpack(started))
  return reply
end
