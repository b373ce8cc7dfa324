-- A write to a record of ours or RQ's, in front of the scripts that need it.
-- Whoever can write to Redis can put a string where a list belongs, a word where a counter
-- belongs, or the last possible id at the end of a stream. Such a thing is no record, so it makes
-- room, and no worker is held up by it. Every other error (out of memory) is met twice, and ends the script.
local function write(command, key, ...)
  local result = redis.pcall(command, key, ...)
  if type(result) ~= 'table' or not result.err then
    return result
  end
  local reason, is_counter = result.err, false
  for _, words in ipairs({'not an integer', 'not a float', 'overflow', 'NaN or Infinity'}) do
    is_counter = is_counter or string.find(reason, words, 1, true)
  end
  if string.sub(reason, 1, 9) == 'WRONGTYPE' or string.find(reason, 'exhausted', 1, true) then
    redis.call('DEL', key)
  elseif is_counter then
    redis.call('HDEL', key, (...))
  end -- error(reason) would hide from Redis 7 which kind of error it is
  return redis.call(command, key, ...)
end
