-- Notes in the report that Redis lost its data which operator knows of it.
-- KEYS: the report, events. ARGV: the report as it was read, the report to write, who, why, events
-- kept.
--
-- Replies 1, or 0 where another report lies there by now.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'event', 'loss_acknowledged',
  'plan_id', '', 'symbol', '', 'reason', ARGV[4], 'ts', redis.call('TIME')[1], 'actor', ARGV[3])
return 1
