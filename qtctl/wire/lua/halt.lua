-- Stops by one kill key, or one symbol, and keeps who, why, since when and what was there before.
-- KEYS: kill key or halt key (or the hash of stopped symbols), halt records, events. ARGV: symbol
-- (empty for a key), the record's name, value, who, why, events kept, 1 for a halt key, what the
-- event is called.
--
-- The stop comes first, and what goes wrong behind it can't undo it: a record or an event that
-- can't be written is told, no more. Replies what was there (normal, ours, other, another_type), the
-- value in force, the record, and what went wrong.
local KEY, RECORDS, EVENTS = KEYS[1], KEYS[2], KEYS[3]
local symbol, name, wanted, who, why, maxlen, halts, called = unpack(ARGV)
halts = halts == '1'

-- include: kill_switch
-- include: halt_record

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local found = type_of(KEY)
local value, level
if symbol == '' then
  value, level = kill_at(KEY, halts, RECORDS)
else
  value, level = kill_of_symbol(KEY, symbol, RECORDS)
end
local another_type = found ~= 'none' and found ~= (symbol == '' and 'string' or 'hash')
local left = found == 'string' and redis.call('PTTL', KEY) or -1

-- Never looser than what is there; and set again, since a value that runs out would end the stop.
local raised = kill_level_of(wanted, halts) > level
local in_force = raised and wanted or value
local level_in_force = raised and kill_level_of(wanted, halts) or level
if not another_type then
  if symbol == '' then
    redis.call('SET', KEY, in_force)
  else
    put(redis.call, KEY, symbol, in_force)
  end
end

local record, problem = halt_record(RECORDS, name)
local ours = level > 0 and record ~= nil and record['value'] == value
if not ours then
  record = {}
  if found ~= 'none' and value ~= '' then
    record['before'] = string.sub(value, 1, 1024)
  end
  if left > 0 then
    record['before_until_ms'] = now_ms + left
  end
end
if raised or not ours then
  record['value'], record['who'], record['why'] = in_force, who, why
  record['since'] = now_ms / 1000
elseif why ~= '' and (record['why'] or '') == '' then
  -- Stopped in haste; the reason comes with the second halt.
  record['why'] = why
end
-- A 1 that a version before wrote keeps its record without a level, which vouches for it. Under a
-- new record a 1 is no more than it says.
if raised or not ours then
  record['level'] = level_in_force
end
local kept = cjson.encode(record)
if not another_type then
  problem = put(function(...) return attempt(problem, ...) end, RECORDS, name, kept)
end
problem = attempt(problem, 'XADD', EVENTS, 'MAXLEN', '~', maxlen, '*', 'event', called,
  'plan_id', '', 'symbol', symbol, 'reason', why, 'ts', time[1], 'actor', who,
  'key', name, 'value', string.sub(in_force, 1, 64), 'before', string.sub(value, 1, 64))

local was = 'normal'
if another_type then
  was = 'another_type'
elseif level > 0 then
  was = ours and 'ours' or 'other'
end
return {was, in_force, kept, problem}
