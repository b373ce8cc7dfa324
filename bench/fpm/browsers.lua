-- For wrk with one connection a thread: asks page after page, each for what nobody else asks for,
-- and checks that it comes back. Arguments: RUN MIX, the share of plain, hurried and cut-off pages
-- in per cent, such as `a 85,10,5`. BENCH_BROWSERS names the file for what was seen.

local ffi = require("ffi")
ffi.cdef [[
typedef struct { long s; long ns; } moment;
int clock_gettime(int clock, moment *now);
]]
local MONOTONIC = 1
local moment = ffi.new("moment")

local function now_ms()
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.s) * 1000 + tonumber(moment.ns) / 1e6
end

local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
end

function init(arguments)
  run = arguments[1]
  plain, hurried = arguments[2]:match("^(%d+),(%d+),")
  plain, hurried = tonumber(plain), tonumber(hurried)
  statuses, times, wrong, asked = {}, {}, {}, 0
  math.randomseed(number + os.time())
end

function request()
  asked = asked + 1
  word = string.format("%s-%d-%d-", run, number, asked)
  local die = math.random(100)
  local path = "/page.php?question=" .. word
  kind = "plain"
  if die > plain + hurried then
    kind, path = "cut off", "/cut_off.php?question=" .. word
  elseif die > plain then
    kind, path = "hurried", path .. "&budget_ms=" .. math.random(40)
  end
  began_ms = now_ms()
  return wrk.format("GET", path)
end

function response(status, _, body)
  local seen = kind .. "\t" .. status
  statuses[seen] = (statuses[seen] or 0) + 1
  if kind == "plain" then
    table.insert(times, now_ms() - began_ms)
  end
  if status == 200 and body:sub(1, #word + 1) ~= word .. " " then
    table.insert(wrong, body:sub(1, 80):gsub("%s", " ") .. " for " .. word)
  end
end

function done(summary)
  local file = assert(io.open(os.getenv("BENCH_BROWSERS"), "a"))
  for _, thread in ipairs(threads) do
    for seen, count in pairs(thread:get("statuses")) do
      file:write("status\t", seen, "\t", count, "\n")
    end
    for _, ms in ipairs(thread:get("times")) do
      file:write("ms\t", string.format("%.3f", ms), "\n")
    end
    for _, text in ipairs(thread:get("wrong")) do
      file:write("wrong\t", text, "\n")
    end
  end
  local errors = summary.errors
  file:write("broken\t", errors.connect + errors.read + errors.write + errors.timeout, "\n")
  file:close()
end
