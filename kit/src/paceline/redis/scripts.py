"""The Lua scripts of the cache: what must happen on the server with nobody in between.

Three keys belong to one entry: the value, the lease of whoever is about to fill it, and the block,
a sorted set of the writers that are changing what is cached, each with the moment until which it
counts. Invariant: while a block counts there is no value and no lease, and only a lease that is
still there lets its holder fill. Times are the server's own. Run by ``store``, which says why.
"""

from typing import Final

from paceline.redis.client import Script

# KEYS: lease and block of each entry. ARGV: a new token, milliseconds it is good for.
# Answers with the token in force for each, "" when the entry is blocked.
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
# Answers with 1 for each, 0 for a fill that was refused.
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
# microseconds. ARGV: the window (burst times a request), then for each key the cost of a take and
# how many are asked for. Answers for each with how many are allowed, and the time until the bucket
# was full before them, rounded up. Times count from 2020, so that a double resolves a hundredth of
# a microsecond.
TAKE: Final = Script("""
local time = redis.call('TIME')
local now = (time[1] - 1577836800) * 1000000 + time[2]
local window = tonumber(ARGV[1])
local answers = {}
for i = 1, #KEYS do
  local cost, asked = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local full_at = redis.call('GET', KEYS[i])
  -- A clock that was set back must not punish: a bucket is never emptier than empty.
  local until_full = full_at and math.min(window, math.max(0, full_at - now)) or 0
  local allowed = math.min(asked, math.floor((window - until_full + 1) / cost))
  if allowed > 0 then
    local after = until_full + allowed * cost
    redis.call('SET', KEYS[i], string.format('%.3f', now + after),
      'PX', math.ceil(after / 1000) + 1)
  end
  answers[#answers + 1] = allowed
  answers[#answers + 1] = math.ceil(until_full)
end
return answers
""")
