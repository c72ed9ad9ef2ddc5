-- The atomic step: one plan, its last facts, its verdict, and everything that follows from it.
--
-- Python has read the plan and the efficiency and judged what can't change. What may change under
-- its hands is judged here, on the server's clock. Atomic is not transactional: an error in the
-- middle keeps what was written before. So every key is read and type-checked first, and the
-- order of the writes is such that a failure can lose a permit and never double one.
--
-- The rules are those of domain/gates.py, in its order; a property test holds the two together.
local DECISION, PERMIT, BLOCK, LEDGER, TOTAL, PERMITS, EVENTS, PLANS =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
-- The hash of stopped symbols, and behind it the kill keys.
local SYMBOLS_AT = 9

-- The same for every plan, and then its own.
local group, server_since_ms = ARGV[1], tonumber(ARGV[2])
local max_queue_age, max_plan_age, cooldown =
  tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local per_5min, per_hour, total_per_5min =
  tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local permit_ttl, decision_ttl, block_ttl, ledger_ttl =
  tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local maxlen, actor, encoding = ARGV[13], ARGV[14], ARGV[15]
local entry_id, plan_id, symbol, symbol_stored, kind =
  ARGV[16], ARGV[17], ARGV[18], ARGV[19], ARGV[20]
local opens = kind == 'open'
local execute, plan_at_ms, static_reason = ARGV[21] == '1', tonumber(ARGV[22]), ARGV[23]
local block_symbol, permit_count = ARGV[24], tonumber(ARGV[25])
local PERMIT_FROM = 26
-- The record begins here: verdict and reason and at its end the dynamic facts
-- still lack their values.
local RECORD_FROM = PERMIT_FROM + permit_count
local DYNAMIC_FROM = #ARGV - 21

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function sec(ms)
  return string.format('%.3f', ms / 1000)
end

-- include: kill_switch

-- Read and type-check every key before the first write ------------------------------------------

local wrong_key, wrong_type
local function check(key, wanted, or_that)
  local found = type_of(key)
  if found ~= 'none' and found ~= wanted and found ~= or_that then
    wrong_key, wrong_type = key, found
  end
  return found
end

-- Most plans are new: then nothing of their own is there, and need not be looked at. Two calls,
-- since the governor's user has its rights on permits in a set of their own.
local known = redis.call('EXISTS', DECISION, BLOCK) + redis.call('EXISTS', PERMIT) > 0
local permit_there = known and check(PERMIT, 'string', 'hash') ~= 'none'
if known then
  check(DECISION, 'hash')
  check(BLOCK, 'string')
end
-- A close has nothing to do with the rates: a broken ledger must not trap it.
local opened_before = opens and check(LEDGER, 'zset') ~= 'none'
if opens then
  check(TOTAL, 'zset')
end
check(PERMITS, 'zset')
check(EVENTS, 'stream')
check(PLANS, 'stream')
if wrong_key then
  return redis.error_reply('WRONGTYPE ' .. wrong_key .. ' holds a ' .. wrong_type)
end

local old = known and redis.call('HMGET', DECISION, 'verdict', 'entry_id', 'symbol', 'kind') or {}

local function ack()
  redis.call('XACK', PLANS, group, entry_id)
end

local function event(name, reason)
  redis.call('XADD', EVENTS, 'MAXLEN', '~', maxlen, '*', 'event', name, 'plan_id', plan_id,
    'symbol', symbol, 'reason', reason, 'ts', time[1], 'actor', actor)
end

-- conflict, once --------------------------------------------------------------------------------

if old[2] == entry_id then
  -- The decision already stands for this entry: only the acknowledgement was lost.
  ack()
  return {'replay', 'ok'}
end
-- A permit without its decision (forgotten, or written by somebody else) is a permit all the same.
local issued = old[1] == 'permitted' or permit_there
if issued then
  local differs = not execute
  if old[1] == 'permitted' then
    differs = differs or old[3] ~= symbol_stored or old[4] ~= kind
  end
  local withdrawn = 0
  if differs and old[1] == 'permitted' and old[4] == 'open' and permit_there then
    redis.call('DEL', PERMIT)
    redis.call('ZREM', PERMITS, plan_id)
    redis.call('HSET', DECISION, 'withdrawn_at', time[1])
    withdrawn = 1
  end
  if differs then
    event('blocked', 'plan_conflict')
    if withdrawn == 1 then
      event('withdrawn', 'plan_conflict')
    end
    ack()
    return {'blocked', 'plan_conflict', sec(now_ms), withdrawn}
  end
  event('blocked', 'duplicate_plan')
  ack()
  return {'blocked', 'duplicate_plan', sec(now_ms), 0}
end
if not execute then
  ack()
  return {'skipped', 'ok'}
end

-- Facts -----------------------------------------------------------------------------------------

local kill_key, kill_value, kill_level = '', '', 0
local function strictest(key, value, level)
  if level > kill_level then
    kill_key, kill_value, kill_level = key, string.sub(value, 1, 64), level
  end
end
-- The common case, one call: no such key is there.
if redis.call('EXISTS', unpack(KEYS, SYMBOLS_AT)) > 0 then
  for i = SYMBOLS_AT + 1, #KEYS do
    strictest(KEYS[i], kill_at(KEYS[i]))
  end
  strictest(KEYS[SYMBOLS_AT], kill_of_symbol(KEYS[SYMBOLS_AT], symbol))
end

local queued_ms = tonumber(string.match(entry_id, '^(%d+)-'))
local queue_age_ms = now_ms - queued_ms
local before_server = queued_ms < server_since_ms
local plan_age_ms = plan_at_ms and (now_ms - plan_at_ms)

local last_open_at, last_open_age_ms, opens_5min, opens_1h, opens_total = '', nil, 0, 0, 0
local five_min_ago, hour_ago = '(' .. sec(now_ms - 300000), '(' .. sec(now_ms - 3600000)
if opened_before then
  local last = redis.call('ZREVRANGE', LEDGER, 0, 0, 'WITHSCORES')
  if last[2] then
    local at_ms = math.floor(tonumber(last[2]) * 1000 + 0.5)
    last_open_at, last_open_age_ms = string.format('%d', math.floor(at_ms / 1000)), now_ms - at_ms
  end
  opens_5min = redis.call('ZCOUNT', LEDGER, five_min_ago, '+inf')
  opens_1h = redis.call('ZCOUNT', LEDGER, hour_ago, '+inf')
end
if opens then
  opens_total = redis.call('ZCOUNT', TOTAL, five_min_ago, '+inf')
end

-- Verdict ---------------------------------------------------------------------------------------

local function judge()
  if kill_level == 2 or (kill_level == 1 and opens) then return 'kill_switch_active' end
  if opens and before_server then return 'failover_quarantine' end
  if queue_age_ms / 1000 > max_queue_age then return 'stale_plan' end
  if not opens then return 'ok' end
  if plan_age_ms and plan_age_ms / 1000 > max_plan_age then return 'stale_plan' end
  if plan_age_ms and -plan_age_ms / 1000 > 60 then return 'future_plan' end
  -- An id ahead of the clock would never grow old in the queue.
  if -queue_age_ms / 1000 > 60 then return 'future_plan' end
  if static_reason ~= '' then return static_reason end
  if cooldown > 0 and last_open_age_ms and last_open_age_ms / 1000 < cooldown then
    return 'symbol_cooldown'
  end
  if per_5min > 0 and opens_5min >= per_5min then return 'burst_limit_exceeded' end
  if per_hour > 0 and opens_1h >= per_hour then return 'hourly_limit_exceeded' end
  if total_per_5min > 0 and opens_total >= total_per_5min then return 'total_limit_exceeded' end
  return 'ok'
end

local reason = judge()
local verdict = reason == 'ok' and 'permitted' or 'blocked'
local now = sec(now_ms)
local dynamic = {
  now,
  plan_age_ms and sec(plan_age_ms) or '',
  sec(queue_age_ms),
  kill_key,
  kill_value,
  before_server and '1' or '0',
  last_open_at,
  last_open_age_ms and sec(last_open_age_ms) or '',
  opens and tostring(opens_5min) or '',
  opens and tostring(opens_1h) or '',
  opens and tostring(opens_total) or '',
}

-- Writes: decision, ledger, permit, event, and XACK last ----------------------------------------

ARGV[RECORD_FROM + 1], ARGV[RECORD_FROM + 3] = verdict, reason
for i = 1, #dynamic do
  ARGV[DYNAMIC_FROM + 2 * i - 1] = dynamic[i]
end
redis.call('HSET', DECISION, unpack(ARGV, RECORD_FROM))
redis.call('EXPIRE', DECISION, decision_ttl)

if verdict == 'permitted' then
  if opens then
    local gone = sec(now_ms - ledger_ttl * 1000)
    for _, ledger in ipairs({LEDGER, TOTAL}) do
      redis.call('ZADD', ledger, now, plan_id)
      redis.call('ZREMRANGEBYSCORE', ledger, '-inf', gone)
      redis.call('EXPIRE', ledger, ledger_ttl)
    end
  end
  redis.call('ZADD', PERMITS, sec(now_ms + permit_ttl * 1000), plan_id)
  redis.call('ZREMRANGEBYSCORE', PERMITS, '-inf', now)
  if known then
    redis.call('DEL', BLOCK)
  end
  if encoding == 'hash' then
    local fields = {}
    for i = PERMIT_FROM, RECORD_FROM - 1, 2 do
      fields[#fields + 1] = ARGV[i]
      fields[#fields + 1] = ARGV[i] == 'created_at' and now or ARGV[i + 1]
    end
    redis.call('HSET', PERMIT, unpack(fields))
    redis.call('EXPIRE', PERMIT, permit_ttl)
  else
    redis.call('SET', PERMIT, ARGV[PERMIT_FROM] .. now .. ARGV[PERMIT_FROM + 1], 'EX', permit_ttl)
  end
else
  redis.call('SET', BLOCK, '{"reason":"' .. reason .. '","timestamp":' .. time[1] ..
    ',"symbol":' .. block_symbol .. '}', 'EX', block_ttl)
end
event(verdict, reason)
-- Last: a replay then meets the decision record and changes nothing.
ack()
return {verdict, reason, now, 0, unpack(dynamic)}
