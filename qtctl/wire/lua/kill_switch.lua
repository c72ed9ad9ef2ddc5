-- How a kill key is read: kill_at(key) and kill_of_symbol(hash, symbol) give its value and how
-- strict that is: 0 normal, 1 only closes pass, 2 everything stops. domain/gates.py says the same.
local function type_of(key)
  return redis.call('TYPE', key)['ok']
end

local function kill_level_of(value)
  if value == '' or value == '0' or value == 'false' or value == 'off' then
    return 0
  end
  return value == 'reduce_only' and 1 or 2
end

local function kill_at(key)
  local found = type_of(key)
  local value = ''
  if found == 'string' then
    value = redis.call('GET', key)
  elseif found ~= 'none' then
    value = '<' .. found .. '>'
  end
  return value, kill_level_of(value)
end

local function kill_of_symbol(hash, symbol)
  local found = type_of(hash)
  local value = ''
  if found == 'hash' then
    value = redis.call('HMGET', hash, symbol)[1] or ''
  elseif found ~= 'none' then
    value = '<' .. found .. '>'
  end
  return value, kill_level_of(value)
end
