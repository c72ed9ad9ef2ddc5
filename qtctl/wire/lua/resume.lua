-- Takes back what halt has set, and puts back what was there before.
-- KEYS: hash of stopped symbols, halt records, events, then every kill key and halt key, the halt
-- that a governor kept last. ARGV: symbol (empty: the keys), who, why, events kept, dry run (1 or
-- 0), the name whose value goes whoever set it (empty: none), how many are halt keys, then the
-- record's name of each key.
--
-- Replies refused, key, value where somebody else's stop is in force: resuming would be a lie;
-- nothing where there is nothing to take back; else resumed, what went wrong, and for each: name,
-- value, and what was put back (empty: nothing).
local SYMBOLS, RECORDS, EVENTS, KILLS_FROM = KEYS[1], KEYS[2], KEYS[3], 4
local symbol, who, why, maxlen, forced = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6]
local dry, NAMES_FROM = ARGV[5] == '1', 8
local HALTS_FROM = #KEYS - tonumber(ARGV[7]) + 1

-- include: kill_switch
-- include: halt_record

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local found = type_of(SYMBOLS)
if found ~= 'none' and found ~= 'hash' then
  return {'refused', SYMBOLS, '<' .. found .. '>'}
end

local ours = {}
for i = KILLS_FROM, #KEYS do
  local name = ARGV[NAMES_FROM + i - KILLS_FROM]
  local value, level = kill_at(KEYS[i], i >= HALTS_FROM, RECORDS)
  local record = halt_record(RECORDS, name)
  if level > 0 then
    if record and record['value'] == value then
      ours[#ours + 1] = {KEYS[i], name, value, record}
    elseif name == forced or i == #KEYS then
      ours[#ours + 1] = {KEYS[i], name, value, {}}
    else
      return {'refused', KEYS[i], string.sub(value, 1, 64)}
    end
  end
end

local problem = ''
local function resumed(name, value, restored)
  problem = attempt(problem, 'HDEL', RECORDS, name)
  problem = attempt(problem, 'XADD', EVENTS, 'MAXLEN', '~', maxlen, '*', 'event', 'resumed',
    'plan_id', '', 'symbol', symbol, 'reason', why, 'ts', time[1], 'actor', who,
    'key', name, 'value', string.sub(restored, 1, 64), 'before', string.sub(value, 1, 64))
end

if symbol ~= '' then
  local value, level = kill_of_symbol(SYMBOLS, symbol, RECORDS)
  if level == 0 then
    return {'nothing'}
  end
  local name = ARGV[#ARGV]
  if not dry then
    redis.call('HDEL', SYMBOLS, symbol)
    resumed(name, value, '')
  end
  return {'resumed', problem, name, value, ''}
end

if #ours == 0 then
  return {'nothing'}
end
local reply = {}
for _, each in ipairs(ours) do
  local key, name, value, record = unpack(each)
  local before, until_ms = record['before'], record['before_until_ms']
  if type(before) ~= 'string' or (until_ms and until_ms <= now_ms) then
    before = ''
  end
  if not dry then
    if before == '' then
      redis.call('DEL', key)
    elseif until_ms then
      redis.call('SET', key, before, 'PXAT', string.format('%d', until_ms))
    else
      redis.call('SET', key, before)
    end
    resumed(name, value, before)
  end
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = name, value, before
end
return {'resumed', problem, unpack(reply)}
