-- How kill keys and halt keys are read: kill_at(key, halts, records) and kill_of_symbol(hash, symbol,
-- records) give a value and how strict it is: 0 normal, 1 only closes pass, 2 everything stops.
-- halts: true for a halt key; records: the hash of halt records. domain/gates.py says the same.
local RECORDS_NAME, SYMBOLS_NAME = 'governor:halt:records', 'governor:halt:symbols'

local function type_of(key)
  return redis.call('TYPE', key)['ok']
end

local function kill_level_of(value, halts)
  local word = string.lower(string.match(value, '^%s*(.-)%s*$'))
  if word == '' or word == '0' or word == 'false' or word == 'off' or word == 'no' then
    return 0
  end
  if halts then
    return word == 'all' and 2 or 1
  end
  return word == 'reduce_only' and 1 or 2
end

-- A version before wrote 1 to stop everything, and kept no level beside it in its record.
local function vouched(value, records, name)
  if value ~= '1' then
    return false
  end
  local reply = redis.pcall('HMGET', records, name)
  local read, record = pcall(cjson.decode, not reply['err'] and reply[1] or '')
  return read and type(record) == 'table' and record['value'] == value and record['level'] == nil
end

local function kill_at(key, halts, records)
  local found = type_of(key)
  if found == 'none' then
    return '', 0
  elseif found ~= 'string' then
    return '<' .. found .. '>', 2
  end
  local value = redis.call('GET', key)
  local level = kill_level_of(value, halts)
  -- Both keys begin with the same prefix.
  if halts and level == 1 and vouched(value, records, string.sub(key, #records - #RECORDS_NAME + 1))
  then
    level = 2
  end
  return value, level
end

-- As sent, and where nothing is there in upper case.
local function kill_of_symbol(hash, symbol, records)
  local found = type_of(hash)
  if found == 'none' then
    return '', 0
  elseif found ~= 'hash' then
    return '<' .. found .. '>', 2
  end
  local upper = string.upper(symbol)
  local values = redis.call('HMGET', hash, symbol, upper)
  local name, value = symbol, values[1]
  if not value then
    name, value = upper, values[2] or ''
  end
  local level = kill_level_of(value, true)
  if level == 1 and vouched(value, records, SYMBOLS_NAME .. ':' .. name) then
    level = 2
  end
  return value, level
end
