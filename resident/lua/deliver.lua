-- deliver: replies for a job that RQ ran, unless its caller does not wait for this run any more.
-- A script, because between the look at the job and the push its id might be asked anew, and the
-- reply would be taken for that question's.
--
-- KEYS[1] hash rq:job:<id>           the job
-- KEYS[2] list resident:reply:<id>   or the mailbox that the job names
-- ARGV[1] created_at of the job as it was read, '' if there was none
-- ARGV[2] the reply
-- ARGV[3] how long an unread reply is kept, ms
-- ARGV[4] 1 if a job whose hash is gone was deleted while it ran; where RQ's own worker runs it, it may
--         have been cancelled in front of its start, and its caller was told so
--
-- Returns 1 if it was pushed, 0 if RQ shall write nothing more of this run: the question was
-- cancelled or asked anew, or somebody deleted it, and then its caller is answered all the same.

local state = redis.call('HMGET', KEYS[1], 'created_at', 'execution', 'data', 'streamed')
local is_gone = not state[1] and not state[3]
if state[2] == 'cancelled' or is_gone and ARGV[4] ~= '1'
  or not is_gone and (not state[3] or (state[1] or '') ~= ARGV[1]) then
  return 0
end
if is_gone then
  redis.call('DEL', KEYS[1]) -- RQ's heartbeat has written there since
end
local length = redis.call('RPUSH', KEYS[2], ARGV[2])
if length > 1 and not state[4] and string.sub(KEYS[2], 1, 15) == 'resident:reply:' then
  redis.call('LTRIM', KEYS[2], '-1', '-1') -- the other was an earlier run's; RQ ran it again
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return is_gone and 0 or 1
