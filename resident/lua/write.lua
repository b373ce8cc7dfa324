-- A write to a record of ours or RQ's, in front of the scripts that need it.
-- Whoever can write to Redis can put a string where a list belongs, a word where a counter
-- belongs, or the last possible id at the end of a stream. Such a thing is no record, so it makes
-- room, and no worker is held up by it. Every other error (out of memory) ends the script.
local NO_COUNTER = {'not an integer', 'not a float', 'overflow', 'NaN or Infinity'}

-- Deletes what is in the way of this write; false if something else is.
local function make_room(reason, key, field)
  if string.sub(reason, 1, 9) == 'WRONGTYPE' or string.find(reason, 'exhausted', 1, true) then
    redis.call('DEL', key)
    return true
  end
  for _, words in ipairs(NO_COUNTER) do
    if string.find(reason, words, 1, true) then
      redis.call('HDEL', key, field)
      return true
    end
  end
  return false
end

local function write(command, key, ...)
  local result = redis.pcall(command, key, ...)
  if type(result) == 'table' and result.err then
    if not make_room(result.err, key, (...)) then
      error(result.err)
    end
    result = redis.call(command, key, ...)
  end
  return result
end
