-- deliver: replies for a job that RQ ran, unless its caller does not wait for this run any more.
-- A script, because between the look at the job and the push its id might be asked anew, and the
-- reply would be taken for that question's.
--
-- KEYS[1] hash rq:job:<id>           the job
-- KEYS[2] list resident:reply:<id>   or the mailbox that the job names
-- ARGV[1] created_at of the job as it was read, '' if there was none
-- ARGV[2] the reply
-- ARGV[3] how long an unread reply is kept, ms
--
-- Returns 1 if it was pushed, 0 if the question was cancelled, deleted or asked anew.

local state = redis.call('HMGET', KEYS[1], 'created_at', 'execution')
if redis.call('HEXISTS', KEYS[1], 'data') == 0 or (state[1] or '') ~= ARGV[1]
  or state[2] == 'cancelled' then
  return 0
end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
