-- Sets a consumer group back that lies ahead of its stream: it would never see an entry again.
-- KEYS: stream, events. ARGV: group, how far back in ms, actor, events kept.
--
-- Replies nothing where it does not lie ahead; else was (its last id), is (the same now, empty where
-- it could not be set back), and what could not be done. In one step: of two governors, one sets it
-- back.
local STREAM, EVENTS = KEYS[1], KEYS[2]
local group, back_ms, actor, maxlen = unpack(ARGV)

local function field(row, wanted)
  for i = 1, #row, 2 do
    if row[i] == wanted then
      return row[i + 1]
    end
  end
end

-- As text: an id in microseconds or nanoseconds has more digits than a double.
local function less(a, b)
  return #a < #b or #a == #b and a < b
end

local function before(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  return less(a_ms, b_ms) or a_ms == b_ms and less(a_seq, b_seq)
end

local was
for _, row in ipairs(redis.call('XINFO', 'GROUPS', STREAM)) do
  if field(row, 'name') == group then
    was = field(row, 'last-delivered-id')
  end
end
local last = field(redis.call('XINFO', 'STREAM', STREAM), 'last-generated-id')
if not was or not before(last, was) then
  return false
end
local time = redis.call('TIME')
local is = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - back_ms) .. '-0'
if before(last, is) then
  is = last
end
local done = redis.pcall('XGROUP', 'SETID', STREAM, group, is)
if done.err then
  return {was, '', done.err}
end
local noted = redis.pcall('XADD', EVENTS, 'MAXLEN', '~', maxlen, '*', 'event', 'group_set_back',
  'plan_id', '', 'symbol', '', 'reason', 'ahead_of_stream', 'ts', time[1], 'actor', actor,
  'before', was, 'value', is)
return {was, is, type(noted) == 'table' and noted.err or ''}
