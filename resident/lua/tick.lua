-- tick: tells Redis that workers are alive which cannot say so themselves while a model holds
-- them. Their leases go on, and RQ gets the execution records and the heartbeats of those that have
-- been at one batch for a second or more; a question that is answered before that has none. Nor do
-- jobs of such a batch expire any more. Nor is such a worker offered any more: whoever takes from the
-- registry what it runs, as RQ's cancel does with the help of those records, would have it handed more.
--
-- KEYS[1] zset rq:wip:<task>            <job>:<execution> -> expiry, s
-- KEYS[2] zset resident:leases:<task>   worker's token -> end of its lease, ms
-- KEYS[3] list rq:queue:<task>          waiting ids
-- KEYS[4] list rq:queue:<task>:popped   ids whose claim may be lost; see release.lua
-- KEYS[5] hash resident:task:<task>     what the task's workers announce, and the offer of one
-- ARGV[1] RQ's key prefix
-- ARGV[2] how long a lease lasts, ms
-- ARGV[3...] of each worker: its token, which its execution ids begin with; its name; for how many
--   ms it has been at its batch, 0 if it may speak for itself; 1 if it is at none, but silent
--
-- Returns the tokens whose leases have ended, a few at a time, which stay until they are removed; and
-- those of silent workers that run something, or of all silent ones while something waits.
-- Needs clock.lua, write.lua and deadline.lua in front.

local TOKEN_LENGTH = 12
local MOST_ENDED = 16
local LONGEST_S = 31536000
local FIRST, VALUES = 3, 4

local prefix, lease_ms = ARGV[1], tonumber(ARGV[2])
local s, us = now()
local now_ms = s * 1000 + math.floor(us / 1000)
local stamp = stamp_of(s, us)

local function record(id, execution, name, began_ms, expiry)
  local member = id .. ':' .. execution
  local key, executions = prefix .. ':execution:' .. member, prefix .. ':executions:' .. id
  local index = prefix .. ':worker:' .. name .. ':executions'
  expiry = math.floor(math.min(expiry, s + LONGEST_S)) -- anybody may write a score
  local ttl = math.max(expiry - s, 60)
  write('HSET', key, 'id', execution, 'job_id', id, 'last_heartbeat',
    string.format('%d.%06d', s, us), 'worker_name', name)
  redis.call('HSETNX', key, 'created_at', string.format('%.3f', began_ms / 1000))
  redis.call('EXPIRE', key, ttl)
  write('ZADD', executions, expiry + 60, execution)
  redis.call('EXPIRE', executions, ttl + 60)
  write('SADD', index, member)
  redis.call('EXPIRE', index, ttl + 60)
end

write('ZREM', KEYS[2], '') -- needs no memory, and Redis refuses no write behind it
local lease_end = string.format('%d', now_ms + lease_ms)
local busy, silent, frozen, is_any_busy, is_any_silent = {}, {}, {}, false, false
for i = FIRST, #ARGV, VALUES do
  local token, name, at_it_ms, is_silent = unpack(ARGV, i, i + VALUES - 1)
  write('ZADD', KEYS[2], lease_end, token)
  if at_it_ms ~= '0' then
    local key = prefix .. ':worker:' .. name
    local is_known = redis.pcall('HEXISTS', key, 'birth') == 1
    if is_known then
      redis.call('HSET', key, 'last_heartbeat', stamp)
    end
    busy[token] = {name = name, key = is_known and key, began_ms = now_ms - at_it_ms}
    is_any_busy = true
  elseif is_silent == '1' then
    silent[token], is_any_silent = true, true
  end
end
redis.call('EXPIRE', KEYS[2], 86400)
while type(redis.pcall('LMOVE', KEYS[4], KEYS[3], 'RIGHT', 'LEFT')) == 'string' do end
local offer = is_any_busy and redis.pcall('HGET', KEYS[5], 'offer')
if type(offer) == 'string' and busy[string.sub(offer, 1, TOKEN_LENGTH)] then
  redis.call('HDEL', KEYS[5], 'offer')
end
if is_any_silent and redis.call('EXISTS', KEYS[3]) == 1 then
  for token in pairs(silent) do
    frozen[#frozen + 1], silent[token] = token, nil
  end
end
local started = (is_any_busy or is_any_silent) and redis.pcall('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES') or {}
for i = 1, started.err and 0 or #started, 2 do
  local id, execution = string.match(started[i], '^(.*):([^:]*)$')
  local token = execution and string.sub(execution, 1, TOKEN_LENGTH)
  local worker = token and busy[token]
  if token and silent[token] then
    frozen[#frozen + 1], silent[token] = token, nil
  end
  if worker then
    if worker.key then -- of what it was handed nobody has told RQ; it has not ended meanwhile
      redis.call('HSET', worker.key, 'state', 'busy')
      worker.key = nil
    end
    keep_deadline(prefix .. ':job:' .. id, LONGEST_TTL_MS)
    record(id, execution, worker.name, worker.began_ms, tonumber(started[i + 1]))
  end
end
local ended = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now_ms, 'LIMIT', 0, MOST_ENDED)
return {ended, frozen}
