"""Redis or Valkey: reachable, new enough, writable, and bound to stay within its memory.

Sends ``INFO`` and nothing else: managed servers forbid ``CONFIG``. Whatever is kept there may be
lost at any time, so its durability does not matter.
"""

from collections.abc import Mapping
from typing import Final

from paceline.commands.doctor.findings import Finding, fail, ok, warn
from paceline.commands.doctor.runner import DoctorRun
from paceline.commands.units import size
from paceline.log import shown_hosts
from paceline.redis import Redis

_NAME: Final = "redis"
_MEMORY: Final = "redis memory"
_OLDEST: Final = 6


async def check_redis(url: str, run: DoctorRun) -> list[Finding]:
    """All about the server. Errors: ``Error(UNAVAILABLE)`` when it does not answer in time."""
    clock = run.clock
    redis = Redis(url, run.log, clock, timeout=run.seconds)
    await redis.start()
    try:
        began = clock.monotonic()
        info = await redis.info()
        milliseconds = (clock.monotonic() - began) * 1000
    finally:
        await redis.stop()
    where = shown_hosts(url) or "its address"
    saw = f"{_product(info)} on {where}, connected and answered in {milliseconds:.1f} ms"
    return assess_redis(info, saw, run)


def assess_redis(info: Mapping[str, str], saw: str, run: DoctorRun) -> list[Finding]:
    """What the server's ``INFO`` says; ``saw`` is how it was reached."""
    return [_server(info, saw, run), _memory(info)]


def _product(info: Mapping[str, str]) -> str:
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info.get('redis_version', '?')}"


def _server(info: Mapping[str, str], saw: str, run: DoctorRun) -> Finding:
    if info.get("role") == "slave":
        mend = f"name the primary in {run.variable('redis_url')}"
        return fail(_NAME, f"{saw}, a read-only replica", mend)
    major = info.get("redis_version", "").partition(".")[0]
    if major.isdecimal() and int(major) < _OLDEST:
        return fail(_NAME, saw, f"needs Redis {_OLDEST} or newer, or Valkey")
    return ok(_NAME, saw)


def _memory(info: Mapping[str, str]) -> Finding:
    limit, policy = int(info.get("maxmemory", "0")), info.get("maxmemory_policy", "noeviction")
    used = size(int(info.get("used_memory", "0")))
    if limit == 0:
        mend = "set maxmemory, and maxmemory-policy allkeys-lru: the machine's memory is the limit"
        return warn(_MEMORY, f"{used} used, no limit", mend)
    saw = f"{used} of {size(limit)} used, {policy}"
    if policy == "noeviction":
        mend = "maxmemory-policy allkeys-lru, or a full cache refuses all that is new"
        return warn(_MEMORY, saw, mend)
    return ok(_MEMORY, saw)
