-- halt_record(hash, name) gives the record of a halt (nil where there is none) and what went wrong;
-- attempt(problem, command…) runs a command whose failure must not end the script, and gives the
-- first problem there was.
local function attempt(problem, ...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply['err'] then
    return problem ~= '' and problem or reply['err']
  end
  return problem
end

-- Adds a field, or changes it: whoever may only add (HSETNX) can set a stop and loosen none.
local function put(run, hash, field, value)
  local reply = redis.pcall('HMGET', hash, field)
  return run(not reply['err'] and reply[1] and 'HSET' or 'HSETNX', hash, field, value)
end

local function halt_record(hash, name)
  local reply = redis.pcall('HMGET', hash, name)
  if reply['err'] then
    return nil, reply['err']
  end
  local read, record = pcall(cjson.decode, reply[1] or '')
  if read and type(record) == 'table' then
    return record, ''
  end
  return nil, ''
end
