-- Redis' clock, in front of every script that needs it.

-- Seconds and microseconds.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]), tonumber(time[2])
end

local function quotient(a, b)
  return (a - a % b) / b
end

-- A moment as RQ writes times: 2026-11-23T08:09:10.000001Z (UTC).
-- The calendar is Hinnant's days-to-civil; Redis' Lua has no os.date.
local function stamp_of(s, us)
  local days = quotient(s, 86400) + 719468
  local day_of_era = days % 146097
  local year_of_era = quotient(day_of_era - quotient(day_of_era, 1460)
    + quotient(day_of_era, 36524) - quotient(day_of_era, 146096), 365)
  local day_of_year = day_of_era
    - (365 * year_of_era + quotient(year_of_era, 4) - quotient(year_of_era, 100))
  local shifted_month = quotient(5 * day_of_year + 2, 153)
  local day = day_of_year - quotient(153 * shifted_month + 2, 5) + 1
  local month = shifted_month < 10 and shifted_month + 3 or shifted_month - 9
  local year = year_of_era + quotient(days, 146097) * 400 + (month <= 2 and 1 or 0)
  local second = s % 86400
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day,
    quotient(second, 3600), quotient(second, 60) % 60, second % 60, us)
end
