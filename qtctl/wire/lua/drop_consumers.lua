-- Removes consumers that are gone for good and hold nothing, and tells their names.
-- One step: a consumer that was given an entry in between must not lose it.
-- KEYS: the stream. ARGV: group, our own name, idle for so many milliseconds.
local gone = {}
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local found = {}
  for i = 1, #row, 2 do
    found[row[i]] = row[i + 1]
  end
  if found.name ~= ARGV[2] and found.pending == 0 and found.idle > tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], found.name)
    gone[#gone + 1] = found.name
  end
end
return gone
