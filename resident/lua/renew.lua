-- renew: tells Redis that workers are alive which cannot say so themselves while a model holds
-- them. Their leases go on, and RQ gets the execution records of what they have run for a second
-- or more; a question that is answered before that has none.
--
-- KEYS[1] zset rq:wip:<task>            <job>:<execution> -> expiry, s
-- KEYS[2] zset resident:leases:<task>   job -> end of its lease, ms
-- ARGV[1] RQ's key prefix
-- ARGV[2] how long a lease lasts, ms
-- ARGV[3...] of each worker: the 12 hex digits that its execution ids begin with, its name
--
-- Returns how many leases were renewed.
-- Needs clock.lua and write.lua in front.

local RECORDED_AFTER_MS = 1000
local TOKEN_LENGTH = 12

local prefix, lease_ms = ARGV[1], tonumber(ARGV[2])
local s, us = now()
local now_ms = s * 1000 + math.floor(us / 1000)
local name_of = {}
for i = 3, #ARGV, 2 do
  name_of[ARGV[i]] = ARGV[i + 1]
end

local function record(id, execution, name, claimed_ms, expiry)
  local member = id .. ':' .. execution
  local key, executions = prefix .. ':execution:' .. member, prefix .. ':executions:' .. id
  local index = prefix .. ':worker:' .. name .. ':executions'
  local ttl = math.max(expiry - s, 60)
  write('HSET', key, 'id', execution, 'job_id', id, 'last_heartbeat',
    string.format('%d.%06d', s, us), 'worker_name', name)
  redis.call('HSETNX', key, 'created_at', string.format('%.3f', claimed_ms / 1000))
  redis.call('EXPIRE', key, ttl)
  write('ZADD', executions, expiry + 60, execution)
  redis.call('EXPIRE', executions, ttl + 60)
  write('SADD', index, member)
  redis.call('EXPIRE', index, ttl + 60)
end

write('ZREM', KEYS[2], '') -- needs no memory, and Redis refuses no write behind it
local started = redis.pcall('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local renewed = 0
for i = 1, started.err and 0 or #started, 2 do
  local id, execution = string.match(started[i], '^(.*):([^:]*)$')
  local name = execution and name_of[string.sub(execution, 1, TOKEN_LENGTH)]
  local lease_end = name and redis.pcall('ZSCORE', KEYS[2], id)
  if type(lease_end) == 'string' then
    local claimed_ms = tonumber(lease_end) - lease_ms
    if now_ms - claimed_ms >= RECORDED_AFTER_MS then
      record(id, execution, name, claimed_ms, tonumber(started[i + 1]))
      write('ZADD', KEYS[2], string.format('%d', now_ms + lease_ms), id)
      renewed = renewed + 1
    end
  end
end
return renewed
