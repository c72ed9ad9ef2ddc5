-- One plan that can't be read: kept to the byte and acknowledged, in one step.
-- KEYS: rejected stream, plan stream. ARGV: group, entry_id, maxlen, then the entry to keep.
for i, key in ipairs(KEYS) do
  local found = redis.call('TYPE', key)['ok']
  if found ~= 'none' and found ~= 'stream' then
    return redis.error_reply('WRONGTYPE ' .. key .. ' holds a ' .. found)
  end
end
-- Not pending any more: another governor was here first, and it is kept already.
if #redis.call('XPENDING', KEYS[2], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then
  return 'gone'
end
local entry = {}
for i = 4, #ARGV do
  entry[#entry + 1] = ARGV[i]
end
-- include: rights

-- A plan that is kept and not acknowledged would be kept again and again.
local refused = refusal('XACK', KEYS[2], ARGV[1], ARGV[2])
if refused then
  return redis.error_reply(refused)
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', unpack(entry))
redis.call('XACK', KEYS[2], ARGV[1], ARGV[2])
return 'kept'
