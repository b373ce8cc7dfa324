end

-- KEYS, ARGV and what it returns are those of ask.lua.
--
-- A caller that was refused would wait in vain: it finds an empty element at once instead, which
-- its BLPOP takes away.
local answer = ask(KEYS, ARGV)
if answer[1] < 0 then
  local reply_key = 'resident:reply:' .. ARGV[1]
  redis.call('RPUSH', reply_key, '')
  redis.call('PEXPIRE', reply_key, 1000)
end
return answer
