-- The atomic step: one plan, its last facts, its verdict, and everything that follows from it.
--
-- Python has read the plan and judged what can't change. What may change under its hands is judged
-- here, on the server's clock; the score is read here as well, which saves a plan its round trip. Atomic is not transactional: an error in the
-- middle keeps what was written before. So every key is read and type-checked first, and the
-- order of the writes is such that a failure can lose a permit and never double one.
--
-- The rules are those of domain/gates.py, in its order; a property test holds the two together.
-- KEYS               of this plan
--   DECISION         hash: the decision about the plan_id
--   PERMIT           JSON string or hash: its permit
--   BLOCK            string: why it was blocked
--   LEDGER           sorted set: permitted opens of the symbol
--   LAST_CLOSE       string: when a full close of the symbol was last permitted, epoch ms
--   EFFICIENCY       hash: the score of the symbol, which others write; decides nothing
--                    the same for every plan
--   LEDGER_TOTAL     sorted set: permitted opens of all symbols
--   PERMITS          sorted set: index of permits
--   EVENTS           stream
--   DECISIONS        stream: every decision with all its facts, for the history
--   PLANS            stream: acknowledged last
--   MARK             there while Redis has all that this governor knew at its last look
--   CLOCK_JUMP       there while the server's clock is known to have jumped ahead
--   HALTED_SYMBOLS   hash: symbols that are stopped
--   HALT_RECORDS     hash: who has halted what
--   …                strings: the kill keys, then the halt keys, up to the end
--
-- ARGV                       the same for every plan; seconds unless the name says otherwise
--   group                    of consumers, in which the entry is acknowledged
--   before_ms                an id up to this one (milliseconds and number) is from before this server
--   before_number
--   jumped_after_ms          a clock of the server beyond it has jumped ahead
--   marked                   1 where there is no permit without MARK
--   max_queue_age_sec        limits, see domain/gates.py
--   max_plan_age_sec
--   symbol_cooldown_sec      0 is off, as with those below
--   reopen_cooldown_sec      also the lifetime of LAST_CLOSE
--   max_exec_per_5min
--   max_exec_per_hour
--   max_opens_per_5min_total
--   eff_ttl_sec              rules of the hint, see domain/downsize.py
--   min_conf
--   downsize_threshold
--   min_factor
--   max_extra_cooldown_sec
--   permit_ttl_sec           lifetimes
--   decision_ttl_sec
--   block_ttl_sec
--   ledger_keep_sec
--   events_maxlen            entries kept, about
--   decisions_maxlen         the same in DECISIONS; 0: it is not written
--   actor                    in the events
--   encoding                 of the permit: json or hash
--   kill_keys                how many of KEYS are kill keys
--   halt_keys                how many are halt keys
--                            of this plan
--   entry_id
--   plan_id
--   symbol
--   symbol_stored            as a decision keeps it
--   kind                     open or close
--   full_close               1 where it closes all, as far as it says
--   execute                  1 where it is to be carried out
--   plan_at_ms               its own timestamp, empty if it has none
--   permitted_before         1 where this governor had permitted it lately
--   static_reason            why the plan alone blocks it, empty if it does not
--   block_symbol             the symbol as JSON
--   score_given              1 where the hint stands in the record; else the score is read here
--   permit_from              the place in ARGV where the permit begins
--   history_from             the place where the permit ends, and what only DECISIONS gets begins
--   record_from              the place where the decision begins
--   hint_from                the place of the hint in it: eight fields, and eff_age_sec
--   …                        the permit but for the hint: name, value, … of a hash; the JSON before
--                            and after created_at, still open
--   …                        what only DECISIONS gets: name, value, …; the score as read, and last
--                            withdrawn
--   …                        the decision: name, value, …; verdict and reason first, and what is
--                            found here last, both still without their values
--
-- Replies: `score` alone, with nothing done, where Python must read the score first; else verdict,
-- reason; with a decision, a conflict or a duplicate then when it fell, 1 where a permit was
-- withdrawn, why DECISIONS could not be written, or nothing, and the nine values of the hint; with
-- a decision then why LAST_CLOSE could not be written, or nothing, and what was found here, in the
-- order of the record.
local DECISION, PERMIT, BLOCK, LEDGER, LAST_CLOSE, EFFICIENCY, LEDGER_TOTAL, PERMITS, EVENTS, DECISIONS, PLANS,
  MARK, CLOCK_JUMP, HALTED_SYMBOLS, HALT_RECORDS = unpack(KEYS)
local group, before_ms, before_number, jumped_after_ms, marked, max_queue_age_sec, max_plan_age_sec,
  symbol_cooldown_sec, reopen_cooldown_sec, max_exec_per_5min, max_exec_per_hour,
  max_opens_per_5min_total, eff_ttl_sec, min_conf, downsize_threshold, min_factor,
  max_extra_cooldown_sec, permit_ttl_sec, decision_ttl_sec, block_ttl_sec, ledger_keep_sec,
  events_maxlen, decisions_maxlen, actor, encoding, kill_keys, halt_keys, entry_id, plan_id, symbol, symbol_stored,
  kind, full_close, execute, plan_at_ms, permitted_before,
  static_reason, block_symbol, score_given, permit_from, history_from,
  record_from, hint_from = unpack(ARGV)
before_ms, before_number, jumped_after_ms, plan_at_ms =
  tonumber(before_ms), tonumber(before_number), tonumber(jumped_after_ms), tonumber(plan_at_ms)
max_queue_age_sec, max_plan_age_sec = tonumber(max_queue_age_sec), tonumber(max_plan_age_sec)
symbol_cooldown_sec, reopen_cooldown_sec =
  tonumber(symbol_cooldown_sec), tonumber(reopen_cooldown_sec)
max_exec_per_5min, max_exec_per_hour, max_opens_per_5min_total =
  tonumber(max_exec_per_5min), tonumber(max_exec_per_hour), tonumber(max_opens_per_5min_total)
permit_from, history_from, record_from, hint_from =
  tonumber(permit_from), tonumber(history_from), tonumber(record_from), tonumber(hint_from)
local opens, reopen_on = kind == 'open', reopen_cooldown_sec > 0

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function sec(ms)
  return string.format('%.3f', ms / 1000)
end

-- include: kill_switch
-- include: rights
-- include: score

-- Read and type-check every key before the first write ------------------------------------------

local wrong_key, wrong_type
local function check(key, wanted, or_that)
  local found = type_of(key)
  if found ~= 'none' and found ~= wanted and found ~= or_that then
    wrong_key, wrong_type = key, found
  end
  return found
end

-- Keys that are named twice count twice: so one call tells MARK, named thrice, from the others.
local there = redis.call('EXISTS', MARK, MARK, MARK, DECISION, BLOCK)
if marked == '1' and there < 3 then
  return redis.error_reply('FORGOTTEN ' .. MARK .. ' is gone: the governor must look first')
end
-- Most plans are new: then nothing of their own is there, and need not be looked at. Two calls,
-- since the governor's user has its rights on permits in a set of their own.
local known = there % 3 + redis.call('EXISTS', PERMIT) > 0
local permit_there = known and check(PERMIT, 'string', 'hash') ~= 'none'
if known then
  check(DECISION, 'hash')
  check(BLOCK, 'string')
end
-- A close has nothing to do with the rates: a broken ledger must not trap it.
local opened_before = opens and check(LEDGER, 'zset') ~= 'none'
local closed_at_ms
if opens then
  check(LEDGER_TOTAL, 'zset')
  if reopen_on then
    -- One call that reads it and fails on another type.
    local found = redis.pcall('GET', LAST_CLOSE)
    if type(found) == 'table' then
      check(LAST_CLOSE, 'string')
      if not wrong_key then
        return found
      end
    elseif found then
      closed_at_ms = #found < 16 and tonumber(string.match(found, '^%d+$'))
      if not closed_at_ms then
        wrong_key, wrong_type = LAST_CLOSE, 'text that is no time'
      end
    end
  end
end
check(PERMITS, 'zset')
check(EVENTS, 'stream')
check(PLANS, 'stream')
if wrong_key then
  return redis.error_reply('WRONGTYPE ' .. wrong_key .. ' holds a ' .. wrong_type)
end

local old = known and redis.call('HMGET', DECISION, 'verdict', 'entry_id', 'symbol', 'kind') or {}

-- What the server refuses must be known before the first write: a verdict that is written stays.
local refused
local function need(...)
  refused = refused or refusal(...)
end

local function need_event_and_ack()
  need('XADD', EVENTS, '*', 'event', '')
  need('XACK', PLANS, group, entry_id)
  return refused and redis.error_reply(refused)
end

local function ack()
  redis.call('XACK', PLANS, group, entry_id)
end

local function event(name, reason)
  redis.call('XADD', EVENTS, 'MAXLEN', '~', events_maxlen, '*', 'event', name, 'plan_id', plan_id,
    'symbol', symbol, 'reason', reason, 'ts', time[1], 'actor', actor)
end

if old[2] == entry_id then
  -- The decision already stands for this entry: only the acknowledgement was lost.
  ack()
  return {'replay', 'ok'}
end
-- A permit without its decision (forgotten, or written by somebody else) is a permit all the same.
local issued = old[1] == 'permitted' or permit_there
if execute ~= '1' and not issued then
  ack()
  return {'skipped', 'ok'}
end

-- The score, and the hint that follows from it ---------------------------------------------------

local hint = {}
if score_given == '1' then
  for i = 1, 9 do
    hint[i] = ARGV[hint_from + 2 * i - 1]
  end
else
  local found, score, confidence, score_at_text, score_read_at = score_at(EFFICIENCY, time, {
    eff_ttl_sec = tonumber(eff_ttl_sec),
    min_conf = tonumber(min_conf),
    downsize_threshold = tonumber(downsize_threshold),
    min_factor = tonumber(min_factor),
    max_extra_cooldown_sec = tonumber(max_extra_cooldown_sec),
  })
  if not found then
    return {'score'}
  end
  hint = found
  for i = 1, 9 do
    ARGV[hint_from + 2 * i - 1] = hint[i]
  end
  if decisions_maxlen ~= '0' then
    ARGV[record_from - 9], ARGV[record_from - 7] = score, confidence
    ARGV[record_from - 5], ARGV[record_from - 3] = score_at_text, score_read_at
  end
end

-- Facts -----------------------------------------------------------------------------------------

local kill_key, kill_value, kill_level = '', '', 0
local function strictest(key, value, level)
  if level > kill_level then
    kill_key, kill_value, kill_level = key, string.sub(value, 1, 64), level
  end
end
-- The common case, one call: no such key is there.
local halts_from = #KEYS - halt_keys + 1
local kills_from = halts_from - kill_keys
local clock_jump = now_ms > jumped_after_ms
if redis.call('EXISTS', CLOCK_JUMP, HALTED_SYMBOLS, unpack(KEYS, kills_from)) > 0 then
  clock_jump = clock_jump or redis.call('EXISTS', CLOCK_JUMP) > 0
  for i = kills_from, #KEYS do
    strictest(KEYS[i], kill_at(KEYS[i], i >= halts_from, HALT_RECORDS))
  end
  strictest(HALTED_SYMBOLS, kill_of_symbol(HALTED_SYMBOLS, symbol, HALT_RECORDS))
end

local queued_ms, number = string.match(entry_id, '^(%d+)-(%d+)$')
queued_ms = tonumber(queued_ms)
local queue_age_ms = now_ms - queued_ms
-- An id ahead of the clock, or in seconds (ids.unit_of), is by a publisher's own clock and tells no
-- age: that must not keep a close from its permit. For opens it counts as it stands.
local age_unknown = not opens and (queue_age_ms < -60000
  or queued_ms * 2000 > now_ms and queued_ms * 500 < now_ms)
local before_server = queued_ms < before_ms
  or queued_ms == before_ms and tonumber(number) <= before_number
local plan_age_ms = plan_at_ms and (now_ms - plan_at_ms)

local last_close_age_ms = closed_at_ms and now_ms - closed_at_ms
local last_open_at, last_open_age_ms, opens_5min, opens_1h, opens_total = '', nil, 0, 0, 0
local now = sec(now_ms)
local five_min_ago, hour_ago = '(' .. sec(now_ms - 300000), '(' .. sec(now_ms - 3600000)
-- What lies ahead of the clock, which stepped back since, says nothing.
local ahead = false
if opened_before then
  local last = redis.call('ZREVRANGE', LEDGER, 0, 0, 'WITHSCORES')
  ahead = last[2] and tonumber(last[2]) * 1000 > now_ms + 0.5
  if ahead then
    local place = redis.call('ZCOUNT', LEDGER, '(' .. now, '+inf')
    last = redis.call('ZREVRANGE', LEDGER, place, place, 'WITHSCORES')
  end
  if last[2] then
    local at_ms = math.floor(tonumber(last[2]) * 1000 + 0.5)
    last_open_at, last_open_age_ms = string.format('%d', math.floor(at_ms / 1000)), now_ms - at_ms
  end
  opens_5min = redis.call('ZCOUNT', LEDGER, five_min_ago, now)
  opens_1h = redis.call('ZCOUNT', LEDGER, hour_ago, now)
end
if opens then
  opens_total = redis.call('ZCOUNT', LEDGER_TOTAL, five_min_ago, now)
end

-- The record, as DECISION and DECISIONS keep it, but for the verdict.
local dynamic = {
  now,
  plan_age_ms and sec(plan_age_ms) or '',
  age_unknown and '' or sec(queue_age_ms),
  kill_key,
  kill_value,
  tostring(kill_level),
  before_server and '1' or '0',
  clock_jump and '1' or '0',
  last_open_at,
  last_open_age_ms and sec(last_open_age_ms) or '',
  last_close_age_ms and sec(last_close_age_ms) or '',
  opens and tostring(opens_5min) or '',
  opens and tostring(opens_1h) or '',
  opens and tostring(opens_total) or '',
}
for i = 1, #dynamic do
  ARGV[#ARGV - 2 * (#dynamic - i)] = dynamic[i]
end

-- Whatever is wrong with the history must cost nobody a verdict. Returns what is.
local function to_history(verdict, reason, withdrawn)
  ARGV[record_from + 1], ARGV[record_from + 3] = verdict, reason
  if decisions_maxlen == '0' then
    return ''
  end
  ARGV[record_from - 1] = withdrawn
  local added = redis.pcall('XADD', DECISIONS, 'MAXLEN', '~', decisions_maxlen, '*',
    unpack(ARGV, history_from))
  return type(added) == 'table' and added.err or ''
end

-- conflict, once --------------------------------------------------------------------------------

if issued then
  local differs = execute ~= '1'
  if old[1] == 'permitted' then
    differs = differs or old[3] ~= symbol_stored or old[4] ~= kind
  end
  local withdraws = differs and old[1] == 'permitted' and old[4] == 'open' and permit_there
  if withdraws then
    need('DEL', PERMIT)
    need('ZREM', PERMITS, plan_id)
    need('HSET', DECISION, 'withdrawn_at', time[1])
  end
  local problem = need_event_and_ack()
  if problem then
    return problem
  end
  if withdraws then
    redis.call('DEL', PERMIT)
    redis.call('ZREM', PERMITS, plan_id)
    redis.call('HSET', DECISION, 'withdrawn_at', time[1])
  end
  local reason, withdrawn = differs and 'plan_conflict' or 'duplicate_plan', withdraws and 1 or 0
  event('blocked', reason)
  if withdraws then
    event('withdrawn', reason)
  end
  local unkept = to_history('blocked', reason, withdrawn)
  ack()
  return {'blocked', reason, now, withdrawn, unkept, unpack(hint)}
end

-- Verdict ---------------------------------------------------------------------------------------

local function judge()
  if kill_level == 2 or (kill_level == 1 and opens) then return 'kill_switch_active' end
  if opens and (before_server or permitted_before == '1' or clock_jump) then return 'failover_quarantine' end
  if not age_unknown and queue_age_ms / 1000 > max_queue_age_sec then return 'stale_plan' end
  if not opens then return 'ok' end
  if plan_age_ms and plan_age_ms / 1000 > max_plan_age_sec then return 'stale_plan' end
  if plan_age_ms and -plan_age_ms / 1000 > 60 then return 'future_plan' end
  -- An id ahead of the clock would never grow old in the queue.
  if -queue_age_ms / 1000 > 60 then return 'future_plan' end
  if static_reason ~= '' then return static_reason end
  -- A mark that lies ahead of the clock is never a young one.
  if symbol_cooldown_sec > 0 and last_open_age_ms and last_open_age_ms >= 0
    and last_open_age_ms / 1000 < symbol_cooldown_sec then return 'symbol_cooldown' end
  if reopen_on and last_close_age_ms and last_close_age_ms >= 0
    and last_close_age_ms / 1000 < reopen_cooldown_sec then return 'reopen_cooldown' end
  if max_exec_per_5min > 0 and opens_5min >= max_exec_per_5min then
    return 'burst_limit_exceeded'
  end
  if max_exec_per_hour > 0 and opens_1h >= max_exec_per_hour then
    return 'hourly_limit_exceeded'
  end
  if max_opens_per_5min_total > 0 and opens_total >= max_opens_per_5min_total then
    return 'total_limit_exceeded'
  end
  return 'ok'
end

local reason = judge()
local verdict = reason == 'ok' and 'permitted' or 'blocked'

-- Writes: decision, ledger, permit, event, history, and XACK last ----------------------------------------

need('EXPIRE', DECISION, decision_ttl_sec)
if verdict == 'permitted' then
  for _, ledger in ipairs(opens and {LEDGER, LEDGER_TOTAL, PERMITS} or {PERMITS}) do
    need('ZADD', ledger, now, plan_id)
    need('ZREMRANGEBYSCORE', ledger, '-inf', now)
    if ledger ~= PERMITS then
      need('EXPIRE', ledger, ledger_keep_sec)
    end
  end
  if known then
    need('DEL', BLOCK)
  end
  if encoding == 'hash' then
    need('HSET', PERMIT, 'granted', '1')
    need('EXPIRE', PERMIT, permit_ttl_sec)
  else
    need('SET', PERMIT, '', 'EX', permit_ttl_sec)
  end
else
  need('SET', BLOCK, '', 'EX', block_ttl_sec)
end
local problem = need_event_and_ack()
if problem then
  return problem
end

ARGV[record_from + 1], ARGV[record_from + 3] = verdict, reason
redis.call('HSET', DECISION, unpack(ARGV, record_from))
redis.call('EXPIRE', DECISION, decision_ttl_sec)

if verdict == 'permitted' then
  if opens then
    local gone = sec(now_ms - ledger_keep_sec * 1000)
    for _, ledger in ipairs({LEDGER, LEDGER_TOTAL}) do
      redis.call('ZADD', ledger, now, plan_id)
      redis.call('ZREMRANGEBYSCORE', ledger, '-inf', gone)
      if ahead then
        redis.call('ZREMRANGEBYSCORE', ledger, '(' .. now, '+inf')
      end
      redis.call('EXPIRE', ledger, ledger_keep_sec)
    end
  end
  redis.call('ZADD', PERMITS, sec(now_ms + permit_ttl_sec * 1000), plan_id)
  redis.call('ZREMRANGEBYSCORE', PERMITS, '-inf', now)
  if known then
    redis.call('DEL', BLOCK)
  end
  if encoding == 'hash' then
    local fields = {}
    for i = permit_from, history_from - 1, 2 do
      fields[#fields + 1] = ARGV[i]
      fields[#fields + 1] = ARGV[i] == 'created_at' and now or ARGV[i + 1]
    end
    for i = hint_from, hint_from + 15 do
      fields[#fields + 1] = ARGV[i]
    end
    redis.call('HSET', PERMIT, unpack(fields))
    redis.call('EXPIRE', PERMIT, permit_ttl_sec)
  else
    -- Nothing in the hint needs an escape.
    local json = {ARGV[permit_from], now, ARGV[permit_from + 1]}
    for i = hint_from, hint_from + 15, 2 do
      json[#json + 1] = ',"' .. ARGV[i] .. '":"' .. ARGV[i + 1] .. '"'
    end
    redis.call('SET', PERMIT, table.concat(json) .. '}', 'EX', permit_ttl_sec)
  end
else
  redis.call('SET', BLOCK, '{"reason":"' .. reason .. '","timestamp":' .. time[1] ..
    ',"symbol":' .. block_symbol .. '}', 'EX', block_ttl_sec)
end
event(verdict, reason)
-- Only a later open misses it: whatever is wrong with it must not cost this close its verdict.
local unwritten = ''
if verdict == 'permitted' and full_close == '1' and reopen_on then
  local kept = redis.pcall('SET', LAST_CLOSE, string.format('%.0f', now_ms), 'PX',
    string.format('%.0f', math.ceil(reopen_cooldown_sec * 1000)))
  unwritten = kept.err or ''
end
local unkept = to_history(verdict, reason, 0)
-- Last: a replay then meets the decision record and changes nothing.
ack()
local reply = {verdict, reason, now, 0, unkept}
for i = 1, #hint do
  reply[#reply + 1] = hint[i]
end
reply[#reply + 1] = unwritten
for i = 1, #dynamic do
  reply[#reply + 1] = dynamic[i]
end
return reply
