-- delta: sends one part of an answer to the reader of its stream, or says why nobody reads it.
-- A script, because only the execution that holds the job may send, and each part goes once: a part
-- whose answer was cut off is sent again with the same number, and is passed over if it is there.
--
-- KEYS[1] hash   rq:job:<id>             the job; its field streamed counts the parts sent so far
-- KEYS[2] list   resident:reply:<id>     the parts, and at last the reply; or the job's mailbox
-- KEYS[3] string resident:reading:<id>   there as long as somebody reads
-- ARGV[1] execution id
-- ARGV[2] number of the part, from 0
-- ARGV[3] the part as the reader gets it
-- ARGV[4] how long an unread part is kept, ms
--
-- Returns 1 sent, 0 lost: the job is another execution's by now, or gone, -1 cancelled, -2 left:
-- nobody reads any more.
-- Needs write.lua in front.

local SENT, LOST, CANCELLED, LEFT = 1, 0, -1, -2
local job, list, number = KEYS[1], KEYS[2], tonumber(ARGV[2])

local state = redis.pcall('HMGET', job, 'execution', 'status', 'streamed')
if not state.err and (state[1] == 'cancelled' or state[1] == ARGV[1] and state[2] == 'canceled') then
  return CANCELLED
end
if state.err or state[1] ~= ARGV[1] then
  return LOST
end
if redis.call('EXISTS', KEYS[3]) == 0 then
  return LEFT
end
-- A Redis that failed over may have lost the last parts: then the reader sees that one is missing.
if number >= tonumber(string.match(state[3] or '', '^%d+$') or 0) then
  -- This first write needs no memory, and Redis refuses none that come after it in a script: what
  -- was asked before it became full is answered.
  redis.call('HDEL', job, '')
  redis.call('HSET', job, 'streamed', string.format('%d', number + 1))
  write('RPUSH', list, ARGV[3])
  redis.call('PEXPIRE', list, ARGV[4])
end
return SENT
