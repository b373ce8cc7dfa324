-- settle: replies to questions, and finishes or fails their jobs in RQ's books.
-- A script, because reply and books are one step, and only for a lease that is still held: when
-- it was lost, another worker has the job, and nothing is written. So a caller gets one reply,
-- and a settle that is sent twice is harmless.
-- The first write of a job may be refused for want of memory, and then nothing has been done.
--
-- keys.started     zset  rq:wip:<task>                  <job>:<execution> -> expiry, s
-- keys.finished    zset  rq:finished:<task>             job -> expiry, s
-- keys.failed      zset  rq:failed:<task>               job -> expiry, s
-- keys.worker      hash  rq:worker:<name>               counters
-- keys.executions  set   rq:worker:<name>:executions    what this worker runs
-- keys.leases      zset  resident:leases:<task>         <job>:<execution> -> end, ms
-- keys.metrics     hash  resident:metrics:<task>        how many leases were lost
-- args.prefix        RQ's key prefix
-- args.name          the worker's name
-- args.reply_ttl_ms  how long an unread reply is kept
-- args.started       when the batch was claimed, s as text
-- settlements  seven values a job: id, execution id, outcome (1 finished, 2 failed,
--   3 discarded: the hash was no job that RQ could read), reply key or '', reply,
--   result (base64, as in rq.results.Result; '' for none), ttl of the job in s (0 delete, -1 keep)
--
-- Returns one code a job: 0 lease lost, 1 settled, 2 settled and others depend on it.
-- Needs clock.lua and write.lua in front.

local FINISHED, FAILED, DISCARDED = 1, 2, 3
-- A job that came by dependents while it ran is not deleted before they have seen how it ended.
local DEPENDENTS_LOOK_S = 60

local function delete_job(prefix, id)
  redis.call('DEL', prefix .. ':job:' .. id, prefix .. ':job:' .. id .. ':dependencies',
    prefix .. ':results:' .. id)
end

-- RQ's final state of one job that is kept: hash, result stream, entry for its registry.
local function file(one, registries, args, s, now, stamp)
  local job, results = args.prefix .. ':job:' .. one.id, args.prefix .. ':results:' .. one.id
  local finished = one.outcome == FINISHED
  write('HSET', job, 'status', finished and 'finished' or 'failed', 'ended_at', stamp,
    'last_heartbeat', stamp)
  local result = {}
  if one.result ~= '' then
    result = {finished and 'return_value' or 'exc_string', one.result}
  end
  write('XADD', results, 'MAXLEN', '~', 10, '*', 'type', one.outcome, 'worker_name', args.name,
    'execution_id', one.execution, 'execution_started_at', args.started, 'execution_ended_at', now,
    unpack(result))
  if one.ttl > 0 then
    redis.call('EXPIRE', results, one.ttl)
    redis.call('EXPIRE', job, one.ttl)
  else
    redis.call('PERSIST', results)
  end
  -- RQ's scores: +inf for a finished job that is kept for ever, -1 for a failed one.
  local registry = registries[one.outcome]
  registry[#registry + 1] = one.ttl > 0 and s + one.ttl or (finished and '+inf' or -1)
  registry[#registry + 1] = one.id
end

-- Which of the settlements' leases this worker still holds, as a list of true and false.
local function held_of(leases, settlements)
  local members = {}
  for i = 1, #settlements, 7 do
    members[#members + 1] = settlements[i] .. ':' .. settlements[i + 1]
  end
  local scores = redis.pcall('ZMSCORE', leases, unpack(members))
  return scores.err and {} or scores
end

local function settle(keys, args, settlements)
  local s, us, stamp = clock()
  local now = string.format('%d.%06d', s, us)
  local held = held_of(keys.leases, settlements)
  local codes, members, counts, registries = {}, {}, {0, 0, 0}, {{}, {}}
  for i = 1, #settlements, 7 do
    local one = {id = settlements[i], execution = settlements[i + 1],
      outcome = tonumber(settlements[i + 2]), reply_key = settlements[i + 3],
      reply = settlements[i + 4], result = settlements[i + 5], ttl = tonumber(settlements[i + 6])}
    local member = one.id .. ':' .. one.execution
    if not held[#codes + 1] then
      codes[#codes + 1] = 0
    else
      if one.reply_key ~= '' then
        write('RPUSH', one.reply_key, one.reply)
        redis.call('PEXPIRE', one.reply_key, args.reply_ttl_ms)
      end
      local dependents = redis.call('EXISTS', args.prefix .. ':job:' .. one.id .. ':dependents')
      if dependents == 1 and one.ttl == 0 then
        one.ttl = DEPENDENTS_LOOK_S
      end
      if one.outcome == DISCARDED or one.ttl == 0 then
        delete_job(args.prefix, one.id)
      else
        file(one, registries, args, s, now, stamp)
      end
      -- Whatever else is in the job's executions belonged to workers that lost it.
      redis.call('DEL', args.prefix .. ':execution:' .. one.id .. ':' .. one.execution,
        args.prefix .. ':executions:' .. one.id)
      members[#members + 1] = member
      counts[one.outcome] = counts[one.outcome] + 1
      codes[#codes + 1] = 1 + dependents
    end
  end

  if #members > 0 then
    write('ZREM', keys.leases, unpack(members))
    write('ZREM', keys.started, unpack(members))
    write('SREM', keys.executions, unpack(members))
    if #registries[FINISHED] > 0 then
      write('ZADD', keys.finished, unpack(registries[FINISHED]))
    end
    if #registries[FAILED] > 0 then
      write('ZADD', keys.failed, unpack(registries[FAILED]))
    end
    local failed = counts[FAILED] + counts[DISCARDED]
    if counts[FINISHED] > 0 then
      write('HINCRBY', keys.worker, 'successful_job_count', counts[FINISHED])
    end
    if failed > 0 then
      write('HINCRBY', keys.worker, 'failed_job_count', failed)
    end
    write('HINCRBYFLOAT', keys.worker, 'total_working_time',
      string.format('%.6f', tonumber(now) - tonumber(args.started)))
  end
  if #members < #codes then
    write('HINCRBY', keys.metrics, 'lost', #codes - #members)
    redis.call('EXPIRE', keys.metrics, 86400)
  end
  return codes
end
