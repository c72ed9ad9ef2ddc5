-- What a hash holds, whatever the order of its fields.
local function hash_digest(key)
  local flat, lines = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do
    lines[#lines + 1] = #flat[i] .. ':' .. flat[i] .. #flat[i + 1] .. ':' .. flat[i + 1]
  end
  table.sort(lines)
  return redis.sha1hex(table.concat(lines, '\n'))
end
