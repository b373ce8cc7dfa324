-- announce: says that a worker is ready for a task, until ttl_ms from now; ttl_ms 0 takes it back.
-- A script, because the moment is Redis' own, and the keys must not outlive their last worker.
--
-- KEYS[1] zset resident:ready:<task>  worker -> end of its announcement, ms
-- KEYS[2] hash resident:task:<task>   what the task is and takes
-- KEYS[3] zset resident:tasks         task -> end of its last announcement, ms
-- KEYS[4] set  rq:queues              RQ's names of all queues; here, so that ask.lua need not
-- KEYS[5] list rq:queue:<task>        only its name is used
-- ARGV[1] worker, ARGV[2] ttl_ms, ARGV[3] task, ARGV[4...] fields and values of the hash
--
-- Returns how many workers are ready for the task.
-- Needs clock.lua and write.lua in front.

local s, us = now()
local now_ms = s * 1000 + math.floor(us / 1000)
local ttl_ms = tonumber(ARGV[2])
write('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
if ttl_ms > 0 then
  write('SADD', KEYS[4], KEYS[5])
  write('ZADD', KEYS[1], now_ms + ttl_ms, ARGV[1])
  write('HSET', KEYS[2], unpack(ARGV, 4))
  redis.call('PEXPIRE', KEYS[2], ttl_ms)
  write('ZADD', KEYS[3], now_ms + ttl_ms, ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ttl_ms)
  redis.call('PEXPIRE', KEYS[1], ttl_ms)
else
  write('ZREM', KEYS[1], ARGV[1])
end
local ready = redis.call('ZCARD', KEYS[1])
if ready == 0 then
  redis.call('DEL', KEYS[2])
  write('ZREM', KEYS[3], ARGV[3])
end
write('ZREMRANGEBYSCORE', KEYS[3], '-inf', now_ms)
return ready
