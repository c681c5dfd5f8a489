"""The machine and the process: interpreter, open files, disk, container limits, ports.

Nothing here needs the network. The control group's path is a parameter, so that a test can show any
container; everything else is read from the system itself.
"""

import os
import platform
import resource
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from paceline.commands.doctor.findings import Finding, fail, ok, warn
from paceline.commands.units import number, size

_OLDEST: Final = (3, 11)
_FEW_FILES: Final = 1024
_MANY_FILES: Final = 4096
_MIB: Final = 1 << 20
_LITTLE_DISK: Final = 1024 * _MIB
_NO_DISK: Final = 64 * _MIB
_PROCESS_NEEDS: Final = 160 * _MIB
"""What one process of a service weighs, with room for its requests."""
_UNLIMITED: Final = 1 << 60
_CGROUP: Final = Path("/sys/fs/cgroup")


def check_python(version: str | None = None) -> Finding:
    """The interpreter, and the system under it. ``version`` instead of the real one, for tests."""
    version = version or platform.python_version()
    saw = f"{version} on {platform.system()} {platform.machine()}"
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        return fail("python", saw, f"use Python {'.'.join(map(str, _OLDEST))} or newer")
    return ok("python", saw)


def check_open_files(limit: int | None = None) -> Finding:
    """How many connections the process may hold. ``limit`` instead of the real one, for tests.

    The hard limit, to which the service raises its own.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1] if limit is None else limit
    if hard == resource.RLIM_INFINITY:
        return ok("open files", "no limit")
    saw = f"{number(hard)} at most, a connection each"
    mend = "ulimit -Hn 65536, or LimitNOFILE=65536 in the unit"
    if hard < _FEW_FILES:
        return fail("open files", saw, mend)
    return warn("open files", saw, mend) if hard < _MANY_FILES else ok("open files", saw)


def check_disk(folder: Path) -> Finding:
    """Room where ``folder`` is, or will be, and the right to write there."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    saw = f"{size(free)} free for {folder}"
    if not os.access(place, os.W_OK):
        return warn("disk", f"{folder} cannot be written", "choose another folder, or its rights")
    if free < _NO_DISK:
        return fail("disk", saw, "make room: what is written is lost without")
    return warn("disk", saw, "make room") if free < _LITTLE_DISK else ok("disk", saw)


def check_container(*, processes: int = 1, root: Path = _CGROUP) -> list[Finding]:
    """The processors and memory that are left to us, against what ``processes`` need."""
    cores = _cores(root)
    allowed = _read(root / "memory.max", root / "memory/memory.limit_in_bytes")
    return [_assess_cores(cores, processes), _assess_memory(allowed, processes)]


def check_ports(host: str, ports: Mapping[str, int]) -> list[Finding]:
    """Whether each port, by the variable that sets it, can be listened on; 0 always can."""
    return [_port(host, variable, port) for variable, port in ports.items()]


def _assess_cores(cores: float, processes: int) -> Finding:
    saw = f"{number(cores)} for {processes} process{'es' if processes > 1 else ''}"
    if cores < 1:
        return warn("processors", saw, "less than one: give it a whole one, or expect pauses")
    if processes > cores:
        return warn("processors", saw, "more processes than processors only take turns")
    return ok("processors", saw)


def _assess_memory(allowed: int | None, processes: int) -> Finding:
    if allowed is None or allowed >= _UNLIMITED:
        return ok("memory", "no limit of a container")
    saw = f"{size(allowed)} for {processes} process{'es' if processes > 1 else ''}"
    needed = processes * _PROCESS_NEEDS
    if allowed < needed:
        return warn("memory", saw, f"allow {size(needed)}, or run fewer processes")
    return ok("memory", saw)


def _cores(root: Path) -> float:
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = (root / "cpu.max").read_text().split()
        return own if quota == "max" else min(own, int(quota) / int(period))
    quota_v1, period_v1 = (
        _read(root / "cpu/cpu.cfs_quota_us"),
        _read(root / "cpu/cpu.cfs_period_us"),
    )
    if quota_v1 and period_v1 and quota_v1 > 0:
        return min(own, quota_v1 / period_v1)
    return own


def _read(*paths: Path) -> int | None:
    """The number in the first of these files that has one."""
    for path in paths:
        with suppress(OSError, ValueError):
            return int(path.read_text())
    return None


def _port(host: str, variable: str, port: int) -> Finding:
    name = f"port {port}"
    if port == 0:
        return ok("port", f"any free one ({variable}=0)")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            return fail(name, f"not allowed on {host}", f"set {variable} to 1024 or above")
        except OSError as exc:
            reason = (exc.strerror or "cannot be used").lower()
            mend = f"well if that is this service, already running; else set {variable}"
            return warn(name, f"{reason} on {host}", mend)
    return ok(name, f"free on {host}")
