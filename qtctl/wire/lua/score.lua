-- score_at(key, time, rules): the efficiency score under a key and the downsize hint that follows
-- from it, as domain/readings.assess and domain/downsize.hint give them; a property test holds the
-- two together. time: the reply to TIME. Returns nil where only Python can read it, and say what is
-- wrong with it: numbers with exponents or blanks, other spellings of ISO 8601, what is refused.
local MAX_AHEAD_SEC = 60

-- A number as nearly all are written.
local function plain_number(text)
  return #text <= 24 and string.find(text, '^%d+%.?%d*$') and tonumber(text) or nil
end

local MONTH_DAYS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

-- Epoch seconds of YYYY-MM-DDTHH:MM:SS, with or without a fraction of 3 or 6 digits and an offset.
local function iso_time(text)
  local year, month, day, hour, minute, second, rest =
    string.match(text, '^(%d%d%d%d)%-(%d%d)%-(%d%d)[T ](%d%d):(%d%d):(%d%d)(.*)$')
  if not year or #rest > 16 then
    return nil
  end
  local fraction, offset = string.match(rest, '^(%.?%d*)(.*)$')
  if fraction ~= '' and #fraction ~= 4 and #fraction ~= 7 then
    return nil
  end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  local days = MONTH_DAYS[month]
  if year < 1970 or not days or day < 1 or day > days + (month == 2 and leap and 1 or 0)
    or hour > 23 or minute > 59 or second > 59 then
    return nil
  end
  local ahead = 0
  if offset ~= '' and offset ~= 'Z' then
    local sign, hours, minutes = string.match(offset, '^([+-])(%d%d):(%d%d)$')
    if not sign or tonumber(hours) > 23 or tonumber(minutes) > 59 then
      return nil
    end
    ahead = (hours * 60 + minutes) * 60 * (sign == '-' and -1 or 1)
  end
  local before = year - 1
  local count = before * 365 + math.floor(before / 4) - math.floor(before / 100)
    + math.floor(before / 400) - 719162
  for each = 1, month - 1 do
    count = count + MONTH_DAYS[each] + (each == 2 and leap and 1 or 0)
  end
  local seconds = ((count + day - 1) * 24 + hour) * 3600 + minute * 60 + second - ahead
  if fraction == '' then
    return seconds
  end
  local micros = string.sub(fraction, 2) * (#fraction == 4 and 1000 or 1)
  return (seconds * 1000000 + micros) / 1000000
end

local function epoch_of(text)
  local value = plain_number(text)
  if not value then
    return iso_time(text)
  elseif value > 1e17 then
    return value / 1e9
  elseif value > 1e14 then
    return value / 1e6
  elseif value > 1e11 then
    return value / 1e3
  end
  return value
end

local function without_zeros(text)
  text = string.gsub(text, '0+$', '')
  return string.sub(text, -1) == '.' and text .. '0' or text
end

-- rules: min_conf, eff_ttl_sec, downsize_threshold, min_factor, max_extra_cooldown_sec. Returns the
-- fields of the hint in their order and the age; then, as read, score, confidence, the time that
-- counts, and when it was read.
local function score_at(key, time, rules)
  local found = redis.pcall('HMGET', key, 'efficiency_score', 'confidence', 'ts', 'timestamp')
  if found.err then
    return nil
  end
  local score_text, confidence_text = found[1], found[2]
  local ts, timestamp = found[3] or '', found[4] or ''
  local read_at = without_zeros(string.format('%s.%06d', time[1], time[2]))
  if not (score_text or confidence_text or found[3] or found[4]) then
    if redis.pcall('EXISTS', key) ~= 0 then
      return nil
    end
    return {'', '', '0', '1.0000', 'NONE', 'missing_eff', '1.0000', '0', ''}, '', '', '', '0.0'
  end
  local score, confidence = plain_number(score_text or ''), plain_number(confidence_text or '')
  if not score or not confidence or score > 1 or confidence > 1 or ts == '' and timestamp == '' then
    return nil
  end
  local now = time[1] + time[2] / 1e6
  local at, at_text
  local one, other = ts ~= '' and epoch_of(ts), timestamp ~= '' and epoch_of(timestamp)
  if one == nil or other == nil then
    return nil
  elseif one and other then
    -- The newer one, but for one that lies ahead.
    local one_ahead, other_ahead = one - now > MAX_AHEAD_SEC, other - now > MAX_AHEAD_SEC
    if one_ahead == other_ahead then
      at = math.max(one, other)
    else
      at = one_ahead and other or one
    end
  else
    at = one or other
  end
  at_text = one == at and ts or timestamp
  local age, reason, stale = now - at, 'ok', '0'
  if age > rules.eff_ttl_sec or age < -MAX_AHEAD_SEC then
    reason, stale = 'stale_eff', '1'
  elseif confidence < rules.min_conf then
    reason = 'low_conf'
  end
  local action, factor, cooldown = 'NONE', 1, 0
  if reason == 'ok' and score < rules.downsize_threshold then
    action = 'DOWNSIZE'
    factor = math.max(rules.min_factor, score / rules.downsize_threshold)
    cooldown = (1 - score) * rules.max_extra_cooldown_sec
  end
  local factor_text = string.format('%.4f', factor)
  return {
    string.format('%.4f', score), without_zeros(string.format('%.4f', confidence)), stale,
    factor_text, action, reason, factor_text, string.format('%.0f', cooldown),
    string.format('%.3f', age),
  }, score_text, confidence_text, at_text, read_at
end
