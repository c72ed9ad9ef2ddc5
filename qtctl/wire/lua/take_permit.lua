-- Takes a permit: what it holds, once, whichever encoding. KEYS: permit, index. ARGV: plan_id.
local found = redis.call('TYPE', KEYS[1])['ok']
local held
if found == 'string' then
  held = redis.call('GET', KEYS[1])
elseif found == 'hash' then
  held = redis.call('HGETALL', KEYS[1])
elseif found == 'none' then
  return false
else
  return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' holds a ' .. found)
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return held
