-- Which of the jobs that a worker names it still holds, in front of the two halves of a settle.

-- A job with ttl 0 that others depend on is kept for so long, for RQ to look at and let them go on.
local DEPENDENTS_LOOK_S = '60'

-- Reads jobs from ARGV: from first on, so many values each, id and execution id in front.
-- Returns codes, 1 for a job that is held and 0 for one that was lost; the places in ARGV of those
-- that are held; and the ids of these.
local function read_jobs(first, values, started, leases)
  local ids, members = {}, {}
  for i = first, #ARGV, values do
    ids[#ids + 1] = ARGV[i]
    members[#members + 1] = ARGV[i] .. ':' .. ARGV[i + 1]
  end
  local scores = redis.pcall('ZMSCORE', started, unpack(members))
  if scores.err then -- no registry any more: the leases must do
    scores = redis.pcall('ZMSCORE', leases, unpack(ids))
  end
  local jobs = {codes = {}, held = {}, ids_held = {}, members_held = {}}
  for number, id in ipairs(ids) do
    local is_held = not scores.err and scores[number]
    jobs.codes[number] = is_held and 1 or 0
    if is_held then
      local place = #jobs.held + 1
      jobs.held[place] = first + (number - 1) * values
      jobs.ids_held[place], jobs.members_held[place] = id, members[number]
    end
  end
  return jobs
end

-- Which of the jobs that are held have keys like this, by their places in ARGV. Mostly none has or
-- all have, so one call looks for all of them.
local function find_keys(prefix, jobs, suffix)
  local keys, found = {}, {}
  for number, id in ipairs(jobs.ids_held) do
    keys[number] = prefix .. ':job:' .. id .. suffix
  end
  local count = redis.call('EXISTS', unpack(keys))
  for number, i in ipairs(jobs.held) do
    found[i] = count == #keys or count > 0 and redis.call('EXISTS', keys[number]) == 1
  end
  return found
end

local function find_dependents(prefix, jobs)
  return find_keys(prefix, jobs, ':dependents')
end
