"""The limit of open files: raised at the start, and a reserve kept for what must not fail.

Each connection is an open file. The soft limit of most systems is 1,024, for programs that use
``select``, which this one does not; so it is raised to the hard limit, as Go does. Where that is
low, too, a part of it is kept from the clients of HTTP and gRPC (a quarter, 256 at most), so that
idle ones never take what the admin server and the pools of connections need to go on; the two
servers divide the rest, so that neither takes the other's.
"""

import resource
from contextlib import suppress
from typing import Final

_ENOUGH: Final = 1 << 20  # of systems without a limit: a kernel takes no larger number
_RESERVE: Final = 256
_DEFAULT_CONNECTIONS: Final = 10_000


def raise_open_files() -> int:
    """Raise the soft limit of this process to its hard limit; gives what it may open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = reachable_open_files(hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return reachable_open_files(soft)
    # Refused where the kernel's own maximum is lower than the hard limit.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def reachable_open_files(limit: int) -> int:
    """The limit as a number."""
    return _ENOUGH if limit == resource.RLIM_INFINITY else min(limit, _ENOUGH)


def open_file_limit() -> int:
    """What this process may open now."""
    return reachable_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def max_connections(open_files: int, *, servers: int) -> int:
    """How many clients each of ``servers`` may have, so that all together leave the reserve."""
    reserve = min(_RESERVE, open_files // 4)
    return max(1, min(_DEFAULT_CONNECTIONS, (open_files - reserve) // servers))
