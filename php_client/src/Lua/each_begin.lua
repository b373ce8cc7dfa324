-- each: asks many questions in one script; each_begin.lua, ask.lua and each_end.lua in a row.
-- A script, because ext-redis reads the answers of a pipeline one after the other, each with the
-- whole time-out, so that a Redis which hangs would hold a caller for as many times its budget.
local function ask(KEYS, ARGV)
