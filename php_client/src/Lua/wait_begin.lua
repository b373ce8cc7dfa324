-- wait: asks one question behind which a BLPOP of its reply follows in the same write;
-- wait_begin.lua, ask.lua and wait_end.lua in a row. For ids that were made for the question.
local function ask(KEYS, ARGV)
