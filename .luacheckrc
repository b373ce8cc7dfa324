-- resident/scripts.py joins these files to scripts: what one defines serves those behind it.
local shared = {
  "now", "stamp_of", "write", "keep_deadline", "restore_deadline", "arrange",
  "s", "us", "now_ms", "LONGEST_TTL_MS", "TEN_YEARS_MS",
}

std = "lua51"
read_globals = {"redis", "cjson", "KEYS", "ARGV"}
for _, name in ipairs(shared) do
  table.insert(read_globals, name)
end
ignore = {}
for _, name in ipairs(shared) do
  table.insert(ignore, "211/" .. name) -- unused in its own file
end

-- The two halves of a settle: what the first finds out, the second goes by.
local found = {
  "FIRST", "VALUES", "SETTLED", "SETTLED_WITH_DEPENDENTS", "args", "by_hash", "call", "codes",
  "is_any_rare", "job_prefix", "lost", "members", "passed", "prefix", "rarities", "streamed",
}
files["resident/lua/settle.lua"] = {globals = found}
files["resident/lua/settle_held.lua"] = {ignore = {}}
for _, name in ipairs(found) do
  table.insert(files["resident/lua/settle_held.lua"].ignore, "2[14]1/" .. name)
end

-- The two halves of an ask likewise.
local asked = {
  "announcement", "args", "budget_ms", "call", "digest", "failure_ttl", "id", "is_read", "job", "lane",
  "queue", "remember", "reply_to", "rq", "task",
}
files["resident/lua/ask.lua"] = {globals = asked}
files["resident/lua/ask_joined.lua"] = {ignore = {}}
for _, name in ipairs(asked) do
  table.insert(files["resident/lua/ask_joined.lua"].ignore, "2[14]1/" .. name)
end

-- wrk runs it in LuaJIT, a state a thread, whose globals are what its functions share.
files["bench/fpm/browsers.lua"] = {
  std = "luajit",
  ignore = {"131"}, -- functions that wrk calls
  read_globals = {"wrk", "number"},
  allow_defined = true,
}
