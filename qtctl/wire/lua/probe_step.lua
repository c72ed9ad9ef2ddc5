-- Whether this server lets this user run the atomic step (commit_permit.lua); changes nothing.
-- KEYS: those of the step, for a plan that nobody sends. Replies what is refused, or nothing.
local DECISION, PERMIT, BLOCK, LEDGER, LAST_CLOSE, EFFICIENCY, LEDGER_TOTAL, PERMITS, EVENTS, DECISIONS, PLANS,
  MARK, CLOCK_JUMP, HALTED_SYMBOLS, HALT_RECORDS = unpack(KEYS)

-- include: rights

-- LAST_CLOSE, EFFICIENCY and DECISIONS are not among them: no verdict depends on them. Kill keys are, by EXISTS.
local needed = {
  {'EXISTS', MARK, DECISION, BLOCK},
  {'EXISTS', CLOCK_JUMP, HALTED_SYMBOLS, unpack(KEYS, 16)},
  {'EXISTS', PERMIT},
  {'TYPE', PERMITS},
  {'TYPE', EVENTS},
  {'TYPE', PLANS},
  {'GET', KEYS[16] or CLOCK_JUMP},
  {'HMGET', DECISION, 'verdict'},
  {'HMGET', HALTED_SYMBOLS, ''},
  {'HMGET', HALT_RECORDS, ''},
  {'ZCOUNT', LEDGER, '0', '0'},
  {'ZCOUNT', LEDGER_TOTAL, '0', '0'},
  {'ZREVRANGE', LEDGER, '0', '0'},
  {'HSET', DECISION, 'verdict', ''},
  {'EXPIRE', DECISION, '1'},
  {'SET', BLOCK, '', 'EX', '1'},
  {'DEL', BLOCK},
  {'SET', PERMIT, '', 'EX', '1'},
  {'HSET', PERMIT, 'granted', '1'},
  {'EXPIRE', PERMIT, '1'},
  {'DEL', PERMIT},
  {'ZADD', PERMITS, '0', ''},
  {'ZREM', PERMITS, ''},
  {'ZREMRANGEBYSCORE', PERMITS, '0', '0'},
  {'XADD', EVENTS, '*', 'event', ''},
  {'XACK', PLANS, '', '0-1'},
}
for _, ledger in ipairs({LEDGER, LEDGER_TOTAL}) do
  needed[#needed + 1] = {'ZADD', ledger, '0', ''}
  needed[#needed + 1] = {'ZREMRANGEBYSCORE', ledger, '0', '0'}
  needed[#needed + 1] = {'EXPIRE', ledger, '1'}
end
for _, command in ipairs(needed) do
  local problem = refusal(unpack(command))
  if problem then
    return problem
  end
end
redis.call('TIME')
return ''
