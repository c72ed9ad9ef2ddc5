-- Removes a stream that is empty and that no group reads. KEYS: the stream. Replies 1 if it did.
if redis.call('TYPE', KEYS[1])['ok'] ~= 'stream' or redis.call('XLEN', KEYS[1]) > 0 then
  return 0
end
if #redis.call('XINFO', 'GROUPS', KEYS[1]) > 0 then
  return 0
end
return redis.call('DEL', KEYS[1])
