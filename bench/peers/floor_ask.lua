-- Puts a question on the queue of bench/peers/floor.py.
-- KEYS: none. ARGV: id, stamp, question as JSON.
redis.call('HSET', 'rq:job:' .. ARGV[1], 'status', 'queued', 'created_at', ARGV[2],
  'enqueued_at', ARGV[2], 'origin', 'floor', 'data', ARGV[3], 'description', 'floor')
redis.call('PEXPIRE', 'rq:job:' .. ARGV[1], 60000)
redis.call('RPUSH', 'rq:queue:floor', ARGV[1])
