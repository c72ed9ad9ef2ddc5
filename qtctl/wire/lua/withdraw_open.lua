-- Takes back the permit of an open that nobody has taken, or of a close. KEYS: decision, permit,
-- index of permits, events. ARGV: plan_id, symbol as a decision keeps it (empty for any), reason,
-- actor, events kept, dry run (1 or 0), closes too (1 or 0). Replies withdrawn, withdrawn_close, gone
-- (taken, or run out), close, other (symbol), or unknown (a permit without its decision). The
-- verdict stays; HSETNX, so that its user can change none.
local DECISION, PERMIT, PERMITS, EVENTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local plan_id, symbol, reason, actor, maxlen = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if redis.call('TYPE', PERMIT)['ok'] == 'none' then
  return 'gone'
end
local known = redis.call('HMGET', DECISION, 'verdict', 'kind', 'symbol')
if known[1] ~= 'permitted' or (known[2] ~= 'open' and known[2] ~= 'close') then
  return 'unknown'
end
-- A halt of the name in upper case stops every spelling of it.
if symbol ~= '' and known[3] ~= symbol and string.upper(known[3]) ~= symbol then
  return 'other'
end
local did = known[2] == 'close' and 'withdrawn_close' or 'withdrawn'
if known[2] == 'close' and ARGV[7] ~= '1' then
  return 'close'
end
if ARGV[6] == '1' then
  return did
end
local now = redis.call('TIME')[1]
redis.call('DEL', PERMIT)
redis.call('HSETNX', DECISION, 'withdrawn_at', now)
redis.call('ZREM', PERMITS, plan_id)
redis.call('XADD', EVENTS, 'MAXLEN', '~', maxlen, '*', 'event', 'withdrawn', 'plan_id', plan_id,
  'symbol', known[3], 'reason', reason, 'ts', now, 'actor', actor)
return did
