"""Whether somebody listens where the settings say: a connection, opened and closed again.

For servers that are spoken to by a library that would answer a wrong address by trying for ever.
What they are is not asked. A check for ``examine``.
"""

import socket
from urllib.parse import urlsplit

from paceline.commands.doctor.findings import Finding, ok, warn
from paceline.concurrency import run_in_daemon_thread


async def check_listening(
    name: str, target: str, mend: str, *, patience: float = 3.0
) -> list[Finding]:
    """A warning when nobody listens at ``target``, "host:port" or a URL with a port."""
    parts = urlsplit(target if "//" in target else f"//{target}")
    where = parts.netloc.rpartition("@")[2]

    def connect() -> None:
        socket.create_connection((parts.hostname or "", parts.port or 0), patience).close()

    try:
        await run_in_daemon_thread(connect, name=f"{name} check")
    except OSError as exc:
        reason = "no answer in time" if isinstance(exc, TimeoutError) else exc.strerror
        return [warn(name, f"nobody listens at {where}: {(reason or 'unreachable').lower()}", mend)]
    return [ok(name, f"somebody listens at {where}")]
