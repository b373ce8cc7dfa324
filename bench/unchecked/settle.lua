-- What settle.lua writes of jobs that end well and that nobody else has taken.
local FIRST, VALUES = 11, 5
local call, args = redis.call, ARGV
local name, started, ended, outcome, ttl = args[2], args[3], args[6], args[8], args[9]
local job_prefix, results_prefix = args[1] .. ':job:', args[1] .. ':results:'
local members, finished, gone = {}, {}, {}
for i = FIRST, #args, VALUES do
  members[#members + 1] = args[i] .. ':' .. args[i + 1]
end
local score = string.format('%d', ended + ttl)
call('ZREM', KEYS[1], unpack(members))
for number = 1, #members do
  local i = FIRST + (number - 1) * VALUES
  local id, execution, reply_key = args[i], args[i + 1], args[i + 2]
  call('RPUSH', reply_key, args[i + 3])
  call('PEXPIRE', reply_key, args[4])
  if ttl == '0' then
    gone[#gone + 1] = job_prefix .. id
  else
    local job, results = job_prefix .. id, results_prefix .. id
    call('HSET', job, 'status', 'finished', 'ended_at', args[7])
    call('XADD', results, '*', 'type', outcome, 'worker_name', name, 'execution_id', execution,
      'execution_started_at', started, 'execution_ended_at', ended, 'return_value', args[i + 4])
    call('EXPIRE', job, ttl)
    call('EXPIRE', results, ttl)
    finished[#finished + 1] = score
    finished[#finished + 1] = id
  end
end
if #gone > 0 then
  call('DEL', unpack(gone))
end
if #finished > 0 then
  call('ZADD', KEYS[2], unpack(finished))
end
return 1
