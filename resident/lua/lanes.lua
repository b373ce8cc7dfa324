-- The lanes of a queue, in front of the scripts that take from it.
-- A lane is an RQ queue beside the task's own: <queue>:<priority>, or <queue>:<priority>:<tenant>.
-- It holds questions only while the task's own queue holds some, so that a worker that waits needs
-- to look at one list. The lists <lanes>:high, <lanes>:normal and <lanes>:low name the lanes in which
-- questions wait, next one leftmost; each gives one and goes to the end, so that none starves.

local function next_of_lane(queue, index, queues)
  while true do
    local lane = redis.pcall('LPOP', index)
    if type(lane) ~= 'string' then
      if lane then
        redis.call('DEL', index) -- no list: whatever it is, it names no lanes
      end
      return nil
    end
    local list = queue .. ':' .. lane
    local id = redis.pcall('LPOP', list)
    if type(id) == 'table' then
      redis.call('DEL', list)
    end
    if redis.call('EXISTS', list) == 1 then
      redis.call('RPUSH', index, lane)
    else
      redis.pcall('SREM', queues, list)
    end
    if type(id) == 'string' then
      return id
    end
  end
end

-- Puts so many ids to the front of the queue, in the order in which they are to be taken: those of
-- high priority, the queue's own by turns with its tenants', those of low priority.
local function arrange(queue, lanes, queues, announcement, most)
  local ids, laned = {}, 0
  local function take(index)
    local id = #ids < most and next_of_lane(queue, index, queues)
    if id then
      ids[#ids + 1] = id
      laned = laned + 1
    end
    return id
  end
  while take(lanes .. ':high') do end
  local normal = lanes .. ':normal'
  repeat
    local own = #ids < most and redis.call('LPOP', queue)
    if own then
      ids[#ids + 1] = own
    end
    local turns = redis.pcall('LLEN', normal)
    turns = type(turns) == 'number' and turns or 0
    for _ = 1, turns do
      take(normal)
    end
  until #ids >= most or not own and turns == 0
  while take(lanes .. ':low') do end
  for i = #ids, 1, -1 do
    redis.call('LPUSH', queue, ids[i])
  end
  if redis.call('EXISTS', announcement) == 1 then
    local left = redis.call('EXISTS', lanes .. ':high', normal, lanes .. ':low')
    if left == 0 then
      redis.call('HDEL', announcement, 'laned')
    elseif laned > 0 then
      local before = tonumber(redis.call('HGET', announcement, 'laned') or '') or 0
      redis.call('HSET', announcement, 'laned', math.max(before - laned, 0))
    end
  end
end
