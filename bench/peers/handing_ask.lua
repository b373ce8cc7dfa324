-- Hands a question to bench/peers/handing.py, from Python or from PHP.
-- KEYS: none. ARGV: id, stamp, question as JSON, expiry in s.
redis.call('HSET', 'rq:job:' .. ARGV[1], 'status', 'started', 'created_at', ARGV[2],
  'enqueued_at', ARGV[2], 'started_at', ARGV[2], 'origin', 'floor', 'data', ARGV[3], 'description', 'floor')
redis.call('ZADD', 'rq:wip:floor', ARGV[4], ARGV[1])
redis.call('PUBLISH', 'floor:hand', ARGV[1] .. ARGV[3])
