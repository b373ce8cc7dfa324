-- settle: ends jobs: replies to their callers, and files them as RQ does.
-- A script, because reply and books are one step, and only for a job that this worker still holds:
-- one that was lost is another worker's, and nothing is written for it. So a caller gets one reply,
-- and a settle that is sent twice is harmless (with ttl 0 the second counts its jobs as lost).
--
-- KEYS[1] zset rq:wip:<task>                  <job>:<execution> -> expiry, s; gone when it is filed
-- KEYS[2] zset rq:finished:<task>             job -> expiry, s
-- KEYS[3] set  rq:worker:<name>:executions    what this worker has run for long
-- KEYS[4] string resident:anew:<task>         somebody asked anew lately with an id like ours
-- ARGV[1] RQ's key prefix
-- ARGV[2] the worker's name
-- ARGV[3] when the batch was claimed, s as text
-- ARGV[4] how long an unread reply is kept, ms
-- ARGV[5] 1 if only their hashes say whose they are
-- ARGV[6] now, s as text, by Redis' clock as the worker knows it since its claim
-- ARGV[7] the same as RQ writes times
-- ARGV[8] outcome of the jobs: 1 finished, 2 failed, 3 discarded: the hash is no job that RQ could
--   read, and goes
-- ARGV[9] ttl of the jobs in s, 0 delete, -1 keep
-- ARGV[10] '', or for jobs that end otherwise '<number from 1>:<outcome>:<ttl>', with ';' between
-- ARGV[11...] five values a job: id, execution id, reply key or '', reply, result (base64, as in
--   rq.results.Result; '' for none)
--
-- Keys beside these, their names made of these:
-- zset rq:failed:<task>         job -> expiry, s
-- hash resident:metrics:<task>  how many jobs were lost
-- set  resident:parents:<task>  jobs whose dependents are still to be let go
--
-- Returns 1 if all are settled, else one code a job: 0 lost, 1 settled, 2 settled and others depend
-- on it.
-- Needs write.lua and settle_held.lua in front.

-- A table takes Redis as long as a third of a command does: what is rare has none until it is there.

local name, started, reply_ttl_ms, ended, stamp = args[2], args[3], args[4], args[6], args[7]
local results_prefix = prefix .. ':results:'
local task, own = string.sub(KEYS[1], #prefix + 6)
if is_any_rare or lost > 0 then
  own = string.sub(KEYS[4], 1, -#task - 6) -- our prefix, with its colon
end
if lost > 0 then
  local metrics = own .. 'metrics:' .. task
  write('HINCRBY', metrics, 'lost', lost)
  call('EXPIRE', metrics, '86400')
end

-- Their callers are told.
for number = 1, #members do
  local i = FIRST + (number - 1) * VALUES
  local reply_key = args[i + 2]
  if not passed[number] and reply_key ~= '' then
    local length = write('RPUSH', reply_key, args[i + 3])
    if length > 1 and by_hash and not streamed[number] and reply_key == 'resident:reply:' .. args[i] then
      call('LTRIM', reply_key, '-1', '-1') -- the other was an earlier run's; RQ ran it again
    end
    call('PEXPIRE', reply_key, reply_ttl_ms)
  end
end

-- And they are filed.
local finished, failed, gone, outcomes, ttls, scored_ttl, score = {}
if args[10] ~= '' then
  outcomes, ttls = {}, {}
  for number, outcome, ttl in string.gmatch(args[10], '(%d+):(%d):(%-?%d+)') do
    outcomes[tonumber(number)], ttls[tonumber(number)] = outcome, ttl
  end
end

for number = 1, #members do
  if not passed[number] then
    local i = FIRST + (number - 1) * VALUES
    local id, execution, result = args[i], args[i + 1], args[i + 4]
    local outcome = outcomes and outcomes[number] or args[8]
    local ttl = outcomes and ttls[number] or args[9]
    local job, results = job_prefix .. id, results_prefix .. id
    if is_any_rare and call('EXISTS', rarities[number + 2]) == 1 then
      codes[number] = SETTLED_WITH_DEPENDENTS
      write('SADD', own .. 'parents:' .. task, id)
      call('EXPIRE', own .. 'parents:' .. task, '86400')
      ttl = ttl == '0' and '60' or ttl -- RQ looks at it to let the dependents go on
    end
    if ttl == '0' and not by_hash then
      gone = gone or {}
      gone[#gone + 1] = job -- as our clients asked it, and run once: it has nothing else
    elseif outcome == '3' or ttl == '0' then
      call('DEL', job, prefix .. ':job::' .. id .. ':dependencies', results) -- the two colons are RQ's
    elseif write('HSET', job, 'status', outcome == '1' and 'finished' or 'failed', 'ended_at',
      stamp) == 2 then
      call('DEL', job) -- it was gone; half a hash is none that RQ could read
    else
      if result == '' then
        write('XADD', results, '*', 'type', outcome, 'worker_name', name,
          'execution_id', execution, 'execution_started_at', started, 'execution_ended_at', ended)
      else
        write('XADD', results, '*', 'type', outcome, 'worker_name', name,
          'execution_id', execution, 'execution_started_at', started, 'execution_ended_at', ended,
          outcome == '1' and 'return_value' or 'exc_string', result)
      end
      if by_hash then -- else it has run once
        call('XTRIM', results, 'MAXLEN', '~', '10')
      end
      if ttl == '-1' then
        call('PERSIST', job)
        call('PERSIST', results)
      else
        call('EXPIRE', job, ttl)
        call('EXPIRE', results, ttl)
      end
      if ttl ~= scored_ttl then
        scored_ttl, score = ttl, string.format('%d', ended + ttl)
      end
      -- RQ's scores: +inf for a finished job that is kept for ever, -1 for a failed one.
      if outcome == '1' then
        finished[#finished + 1] = ttl ~= '-1' and score or '+inf'
        finished[#finished + 1] = id
      else
        failed = failed or {}
        failed[#failed + 1] = ttl ~= '-1' and score or '-1'
        failed[#failed + 1] = id
      end
    end
  end
end
if is_any_rare and call('EXISTS', KEYS[3]) == 1 then
  write('SREM', KEYS[3], unpack(members))
  for number = 1, #members do
    local id = args[FIRST + (number - 1) * VALUES]
    call('DEL', prefix .. ':execution:' .. members[number])
    write('ZREM', prefix .. ':executions:' .. id, args[FIRST + (number - 1) * VALUES + 1])
  end
end
if gone then
  call('DEL', unpack(gone))
end
if #finished > 0 then
  write('ZADD', KEYS[2], unpack(finished))
end
if failed then
  write('ZADD', prefix .. ':failed:' .. task, unpack(failed))
end
if next(codes) == nil then
  return SETTLED
end
for number = 1, #members do
  codes[number] = codes[number] or SETTLED
end
return codes
