"""The Lua scripts of the cache and the limiter: what the server must do atomically.

Three keys belong to one cache entry: the value; the lease of the reader that will fill it; and the
block, a sorted set of the writers that are changing the source, each with the time at which its
block expires. Invariant: while a block is in force there is no value and no lease, and only a lease
that still exists allows a fill. Times are the server's own.
"""

from typing import Final

from paceline.redis.client import Script

# KEYS: lease and block of each entry. ARGV: a new token, its time to live in milliseconds.
# Returns the token in force for each entry, "" when the entry is blocked.
LEASE: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local tokens = {}
for i = 1, #KEYS, 2 do
  local token = ''
  redis.call('ZREMRANGEBYSCORE', KEYS[i + 1], '-inf', now)
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    token = redis.call('GET', KEYS[i])
    if not token then
      token = ARGV[1]
      redis.call('SET', KEYS[i], token, 'PX', ARGV[2])
    end
  end
  tokens[#tokens + 1] = token
end
return tokens
""")

# KEYS: value, lease and block of each entry. ARGV for each: what to do, token, milliseconds, value.
# Returns 1 for each entry, 0 for a fill that was refused.
CHANGE: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local done = {}
for i = 1, #KEYS, 3 do
  local a = (i - 1) / 3 * 4 + 1
  local value, lease, block = KEYS[i], KEYS[i + 1], KEYS[i + 2]
  local what, token, ms = ARGV[a], ARGV[a + 1], tonumber(ARGV[a + 2])
  local ok = 1
  if what == 'fill' then
    if redis.call('GET', lease) == token then
      redis.call('SET', value, ARGV[a + 3], 'PX', ms)
      redis.call('DEL', lease)
    else
      ok = 0
    end
  else
    redis.call('DEL', value, lease)
    if what == 'block' then
      redis.call('ZADD', block, now + ms, token)
      if redis.call('PTTL', block) < ms then
        redis.call('PEXPIRE', block, ms)
      end
    elseif token ~= '' then
      redis.call('ZREM', block, token)
    end
  end
  done[#done + 1] = ok
end
return done
""")

# The generic cell rate algorithm for each of KEYS, as in ``paceline.resilience.rate_limit``, in
# microseconds. ARGV: the window (burst times the interval of a request), then for each key the cost
# of a request and how many there are. Returns for each how many are allowed, and the time until the
# bucket was full before them, rounded up. Times count from 2020, so that a double resolves a
# hundredth of a microsecond.
TAKE: Final = Script("""
local time = redis.call('TIME')
local now = (time[1] - 1577836800) * 1000000 + time[2]
local window = tonumber(ARGV[1])
local results = {}
for i = 1, #KEYS do
  local cost, requested = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local full_at = redis.call('GET', KEYS[i])
  -- When the clock was set back, the bucket must not seem emptier than empty.
  local until_full = full_at and math.min(window, math.max(0, full_at - now)) or 0
  local allowed = math.min(requested, math.floor((window - until_full + 1) / cost))
  if allowed > 0 then
    local after = until_full + allowed * cost
    redis.call('SET', KEYS[i], string.format('%.3f', now + after),
      'PX', math.ceil(after / 1000) + 1)
  end
  results[#results + 1] = allowed
  results[#results + 1] = math.ceil(until_full)
end
return results
""")
