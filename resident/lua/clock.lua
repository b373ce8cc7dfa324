-- Redis' clock, in front of every script that needs it.
-- Returns seconds, microseconds, and both as RQ writes times: 2026-11-23T08:09:10.000001Z (UTC).
-- The calendar is Hinnant's days-to-civil; Redis' Lua has no os.date.
local function clock()
  local time = redis.call('TIME')
  local s, us = tonumber(time[1]), tonumber(time[2])
  local days = math.floor(s / 86400) + 719468
  local era = math.floor(days / 146097)
  local day_of_era = days - era * 146097
  local year_of_era = math.floor((day_of_era - math.floor(day_of_era / 1460)
    + math.floor(day_of_era / 36524) - math.floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era
    - (365 * year_of_era + math.floor(year_of_era / 4) - math.floor(year_of_era / 100))
  local shifted_month = math.floor((5 * day_of_year + 2) / 153)
  local day = day_of_year - math.floor((153 * shifted_month + 2) / 5) + 1
  local month = shifted_month < 10 and shifted_month + 3 or shifted_month - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  local second = s % 86400
  return s, us, string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day,
    math.floor(second / 3600), math.floor(second / 60) % 60, second % 60, us)
end
