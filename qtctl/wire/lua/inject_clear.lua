-- Takes a synthetic hash away if nobody changed it, and puts back what it covered, in one step.
-- KEYS: key, record. Replies 'removed', 'restored', 'left' (somebody else wrote it) or 'gone'.
local KEY, RECORD = KEYS[1], KEYS[2]

-- include: hash_digest

local there = redis.call('TYPE', KEY)['ok']
local known = redis.call('HMGET', RECORD, 'digest', 'dump', 'until_ms')
if there ~= 'none' and (there ~= 'hash' or known[1] ~= hash_digest(KEY)) then
  redis.call('DEL', RECORD)
  return 'left'
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = tonumber(known[3] or '')
redis.call('DEL', KEY, RECORD)
if known[2] and (until_ms == 0 or until_ms > now_ms) then
  redis.call('RESTORE', KEY, string.format('%d', until_ms), known[2], 'ABSTTL')
  return 'restored'
end
return there == 'none' and 'gone' or 'removed'
