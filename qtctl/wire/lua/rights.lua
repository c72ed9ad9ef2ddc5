-- refusal(command, key, …) says why the server would not run this, nil where it would: not allowed
-- (NOPERM), or not known (renamed or left out). For scripts that must not fail half way.
-- Before Redis 7 there is no redis.acl_check_cmd, and nothing is found out.
local acl_check_cmd = redis.acl_check_cmd
local function refusal(...)
  if not acl_check_cmd then
    return nil
  end
  local known, allowed = pcall(acl_check_cmd, ...)
  if known and allowed then
    return nil
  end
  local command, key = ...
  if known then
    return 'NOPERM this user may not run ' .. command .. ' on ' .. key
  end
  return "ERR unknown command '" .. command .. "', which is needed for " .. key
end
