-- Puts a synthetic hash in place of whatever is there, and keeps that, in one step.
-- KEYS: key, record. ARGV: lifetime in seconds, force (1 or 0), dry run (1 or 0), then the fields.
-- Replies 'written' (in a dry run 'free'), or 'refused', type, remaining lifetime in ms, and of the
-- fields of what is there those that tell what it is: all of them could be too many for a reply.
local KEY, RECORD = KEYS[1], KEYS[2]
local ttl, force, dry_run = tonumber(ARGV[1]), ARGV[2] == '1', ARGV[3] == '1'
local FIELDS_FROM = 4
local TELLING = {'ts', 'timestamp', 'efficiency_score', 'target_usd', 'confidence', 'mode', 'version'}

-- include: hash_digest

local there = redis.call('TYPE', KEY)['ok']
local known = redis.call('HMGET', RECORD, 'digest', 'dump', 'until_ms')
local ours = there == 'hash' and known[1] == hash_digest(KEY)
if there ~= 'none' and not ours and not force then
  local reply = {'refused', there, redis.call('PTTL', KEY)}
  for i, value in ipairs(there == 'hash' and redis.call('HMGET', KEY, unpack(TELLING)) or {}) do
    if value then
      reply[#reply + 1] = TELLING[i]
      reply[#reply + 1] = value
    end
  end
  return reply
end
if dry_run then
  return {'free'}
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local dump, until_ms = known[2], tonumber(known[3] or '')
if there ~= 'none' and not ours then
  local left = redis.call('PTTL', KEY)
  dump, until_ms = redis.call('DUMP', KEY), left >= 0 and now_ms + left or 0
end

local fields = {}
for i = FIELDS_FROM, #ARGV do
  fields[#fields + 1] = ARGV[i]
end
redis.call('DEL', KEY, RECORD)
redis.call('HSET', KEY, unpack(fields))
redis.call('EXPIRE', KEY, ttl)
redis.call('HSET', RECORD, 'digest', hash_digest(KEY))
if not dump then
  redis.call('EXPIRE', RECORD, ttl)
else
  redis.call('HSET', RECORD, 'dump', dump, 'until_ms', string.format('%d', until_ms))
  -- As long as there is something to take away or something to put back.
  if until_ms > 0 then
    redis.call('PEXPIREAT', RECORD, string.format('%d', math.max(until_ms, now_ms + ttl * 1000)))
  end
end
return {'written'}
