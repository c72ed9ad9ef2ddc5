-- refusal(command, key, …) says why the server would not run this, nil where it would: not allowed
-- (NOPERM), or not known (renamed or left out). For scripts that must not fail half way.
-- Before Redis 7 there is no redis.acl_check_cmd: there it is only found out whether it is known.
local acl_check_cmd = redis.acl_check_cmd
local function refusal(...)
  local command, key = ...
  local known, allowed
  if acl_check_cmd then
    known, allowed = pcall(acl_check_cmd, ...)
  else
    -- Without arguments none of them runs: whether it is known tells the error.
    local reply = redis.pcall(command)
    known = not string.find(string.lower(reply['err'] or ''), 'unknown', 1, true)
    allowed = known
  end
  if known and allowed then
    return nil
  end
  if known then
    return 'NOPERM this user may not run ' .. command .. ' on ' .. key
  end
  return "ERR unknown command '" .. command .. "', which is needed for " .. key
end
