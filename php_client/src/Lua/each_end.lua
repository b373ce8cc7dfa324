end

-- KEYS    those of ask.lua for each question in turn
-- ARGV[1] how many questions there are
-- ARGV    then for each how many arguments follow, and its ARGV of ask.lua
--
-- Returns what ask.lua returns, for each question in turn.
local questions = tonumber(ARGV[1])
local keys_each = #KEYS / questions
local answers, at = {}, 2
for number = 1, questions do
  local keys = { unpack(KEYS, (number - 1) * keys_each + 1, number * keys_each) }
  local last = at + tonumber(ARGV[at])
  answers[number] = ask(keys, { unpack(ARGV, at + 1, last) })
  at = last + 1
end
return answers
