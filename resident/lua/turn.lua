-- turn: one turn of a worker: settle what it has answered, then claim what waits. One round
-- trip a batch. Without settlements it is a claim, with max_batch 0 it is a settle.
--
-- KEYS[1...10] queue, intermediate, started, finished, failed, worker, executions, leases,
--   metrics, suspended: see settle.lua and claim.lua
-- ARGV[1...9]  prefix, name, token, moved, max_batch, lease_ms, max_data_bytes, reply_ttl_ms,
--   started: see there
-- ARGV[10...]  settlements, seven values a job: see settle.lua
--
-- Returns {codes of settle, result of claim}; with max_batch 0 the claim is {} and the worker's
-- state in RQ becomes idle; so it does when there was something to settle and nothing to claim.
-- Needs clock.lua, write.lua, settle.lua and claim.lua in front.

local keys = {queue = KEYS[1], intermediate = KEYS[2], started = KEYS[3], finished = KEYS[4],
  failed = KEYS[5], worker = KEYS[6], executions = KEYS[7], leases = KEYS[8], metrics = KEYS[9],
  suspended = KEYS[10]}
local args = {prefix = ARGV[1], name = ARGV[2], token = ARGV[3], moved = ARGV[4],
  max_batch = tonumber(ARGV[5]), lease_ms = tonumber(ARGV[6]), max_data_bytes = tonumber(ARGV[7]),
  reply_ttl_ms = tonumber(ARGV[8]), started = ARGV[9]}

local codes = {}
if #ARGV > 9 then
  local settlements = {}
  for i = 10, #ARGV do
    settlements[#settlements + 1] = ARGV[i]
  end
  codes = settle(keys, args, settlements)
end

local claimed = {}
if args.max_batch > 0 then
  claimed = claim(keys, args)
end
if #codes > 0 and #claimed <= 3 then
  write('HSET', keys.worker, 'state', 'idle')
end
return {codes, claimed}
