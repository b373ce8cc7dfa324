-- A write to a record of ours or RQ's, in front of the scripts that need it.
-- Whoever can write to Redis can put a string where a list belongs. Such a key is no record, so
-- it makes room, and no worker is held up by it. Every other error (out of memory) ends the
-- script.
local function write(command, key, ...)
  local result = redis.pcall(command, key, ...)
  if type(result) == 'table' and result.err then
    if string.sub(result.err, 1, 9) ~= 'WRONGTYPE' then
      error(result.err)
    end
    redis.call('DEL', key)
    redis.call(command, key, ...)
  end
end
