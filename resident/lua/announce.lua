-- announce: says that a worker is ready for a task, until ttl_ms from now; ttl_ms 0 takes it back.
-- A script, because the moment is Redis' own, the keys must live as long as their last worker's
-- announcement, and the rate is the sum of what all workers say.
--
-- KEYS[1] zset resident:ready:<task>  worker -> end of its announcement, ms
-- KEYS[2] hash resident:task:<task>   what the task is and takes, and its workers' rate together
-- KEYS[3] zset resident:tasks         task -> end of its last announcement, ms
-- KEYS[4] set  rq:queues              RQ's names of all queues; here, so that ask.lua need not
-- KEYS[5] list rq:queue:<task>        only its name is used
-- KEYS[6] hash resident:rates:<task>  worker -> questions a second that it can answer; 0 if it
--                                     has not seen enough to tell
-- KEYS[7] list resident:lanes:<task>  see lanes.lua; if none is there, none waits in lanes
-- ARGV[1] worker, ARGV[2] ttl_ms, ARGV[3] task, ARGV[4] its rate, ARGV[5...] fields and values
--
-- Returns how many workers are ready for the task.
-- Needs clock.lua and write.lua in front.

local LONGEST_MS = 31536000000 -- a year

local s, us = now()
local now_ms = s * 1000 + math.floor(us / 1000)
local ttl_ms = tonumber(ARGV[2])

-- Of all workers together; 0 while one of them cannot tell.
local function rate_of_all()
  local sum = 0
  for _, worker in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local rate = tonumber(redis.call('HGET', KEYS[6], worker) or '')
    if not rate or rate <= 0 then
      return '0'
    end
    sum = sum + rate
  end
  return string.format('%.3f', sum)
end

-- Of those that announce longest; whoever speaks last must not cut the others short. Anybody may
-- write a score.
local function last_end_in(ends)
  local last = tonumber(redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')[2])
  return string.format('%d', math.min(last, now_ms + LONGEST_MS))
end

write('ZREM', KEYS[1], '') -- needs no memory, and makes room for a zset
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms)
if ttl_ms <= 0 then
  gone[#gone + 1] = ARGV[1]
end
for _, worker in ipairs(gone) do
  write('ZREM', KEYS[1], worker)
  write('HDEL', KEYS[6], worker)
end
if ttl_ms > 0 then
  write('SADD', KEYS[4], KEYS[5])
  write('ZADD', KEYS[1], now_ms + ttl_ms, ARGV[1])
  write('HSET', KEYS[6], ARGV[1], ARGV[4])
  write('HSET', KEYS[2], 'rate', rate_of_all(), unpack(ARGV, 5))
  local lanes = KEYS[7]
  if redis.call('EXISTS', lanes .. ':high', lanes .. ':normal', lanes .. ':low') == 0 then
    redis.call('HDEL', KEYS[2], 'laned') -- claims count it down; anybody may have written it
  end
end
local ready = redis.call('ZCARD', KEYS[1])
if ready > 0 then
  local last_end = last_end_in(KEYS[1])
  write('ZADD', KEYS[3], last_end, ARGV[3])
  for _, key in ipairs({KEYS[1], KEYS[2], KEYS[6]}) do
    redis.call('PEXPIREAT', key, last_end)
  end
  redis.call('PEXPIREAT', KEYS[3], last_end_in(KEYS[3]))
else
  redis.call('DEL', KEYS[2], KEYS[6])
  write('ZREM', KEYS[3], ARGV[3])
end
write('ZREMRANGEBYSCORE', KEYS[3], '-inf', now_ms)
return ready
