-- The deadline of a job that runs, in front of the scripts that need it.
-- Until the claim a job's TTL is what is left of its budget. While the job runs it must not
-- expire, and its deadline must not be forgotten: so the TTL is moved ten years on, where no TTL
-- of RQ's (a year at most) can be taken for it. Most jobs are settled long before: so a claim does it
-- only if little is left, and a tick for those that have run for a second.
local TEN_YEARS_MS = 315360000000
local LONGEST_TTL_MS = 31536000000 -- a year

-- Moves the TTL of a job on if less than so much is left; returns the ms that are left of its
-- budget, -1 if it has none.
local function keep_deadline(job, below_ms)
  local left_ms = redis.call('PTTL', job)
  if left_ms >= TEN_YEARS_MS then -- of an earlier run, which was not put back
    return left_ms - TEN_YEARS_MS
  end
  if left_ms >= 0 and left_ms < below_ms then
    redis.call('PEXPIRE', job, string.format('%d', left_ms + TEN_YEARS_MS))
  end
  return left_ms
end

-- Makes what is left of the budget the job's TTL again; returns it in ms, 0 if it has run out,
-- -1 if there is none, or a TTL that somebody else has set meanwhile, which stays.
local function restore_deadline(job)
  local ttl_ms = redis.call('PTTL', job)
  if ttl_ms < TEN_YEARS_MS - LONGEST_TTL_MS then
    return -1
  end
  local left_ms = math.max(ttl_ms - TEN_YEARS_MS, 0)
  if left_ms > 0 then
    redis.call('PEXPIRE', job, string.format('%d', left_ms))
  end
  return left_ms
end
