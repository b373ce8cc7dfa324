-- Which jobs of a settle its worker still holds, in front of settle.lua, which says what KEYS and ARGV
-- are. Takes their executions out of the registry, and leaves what is to be known of each by its number.
-- Needs write.lua in front.
--
-- Whose a job is stands in its hash: the execution that was claimed last, until it is put back. For a
-- question whose id nobody else can have asked with the registry says the same, of all of them at once:
-- whoever takes a job from an execution takes that out of it.

local LOST, SETTLED, SETTLED_WITH_DEPENDENTS = 0, 1, 2
local FIRST, VALUES = 11, 5
local call, args = redis.call, ARGV -- globals would be looked up each time
local prefix = args[1]
local job_prefix = prefix .. ':job:'

-- Dependents, RQ's records (a tick may have written them for a batch that is younger than it thought)
-- and ids like ours that were asked anew are seldom there: one call looks for all of them, and if it
-- finds any, the hash says whose a job is.
local members, rarities = {}, {KEYS[3], KEYS[4]}
for i = FIRST, #args, VALUES do
  local id, number = args[i], #members + 1
  members[number] = id .. ':' .. args[i + 1]
  rarities[number + 2] = job_prefix .. id .. ':dependents'
end
local is_any_rare = call('EXISTS', unpack(rarities)) > 0
local by_hash = args[5] == '1' or is_any_rare

-- Their removal says whether all were there, with half the work of a look at each; if not, the hash says
-- of each. A first write that needs no memory: after it Redis refuses none in this script, and what was asked
-- before it became full is answered.
local are_there = write('ZREM', KEYS[1], unpack(members)) == #members
-- Codes of those that are not just settled; which are passed over; how many deltas were sent.
local codes, passed, streamed, lost = {}, {}, {}, 0
for number = 1, #members do
  if by_hash or not are_there then
    local job = job_prefix .. args[FIRST + (number - 1) * VALUES]
    local state = redis.pcall('HMGET', job, 'execution', 'status', 'streamed', 'deaths')
    if state.err then -- no hash: whatever it is, it is not a job
      call('DEL', job)
      state = {}
    end
    if state[1] and state[1] == args[FIRST + (number - 1) * VALUES + 1] then
      streamed[number] = state[3]
      if state[3] or state[4] then -- a requeue begins anew
        call('HDEL', job, 'streamed', 'deaths')
      end
      passed[number] = state[2] == 'finished' or state[2] == 'failed'
    elseif state[1] == 'cancelled' then -- see cancel.lua; its caller has been told
      passed[number] = true
    elseif state[1] or state[2] or not are_there or call('EXISTS', job) == 1 then
      passed[number], codes[number], lost = true, LOST, lost + 1
    end -- else somebody deleted the job while it ran: its caller is answered if nobody was before. If one of
    -- the batch was taken, it may as well be this one, which another has answered and deleted: no second reply.
  end
end
