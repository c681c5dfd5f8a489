"""Whether a server listens at an address: a connection, opened and closed again.

For servers whose client library would retry a wrong address for ever. Nothing is sent, so it is not
known what listens there.
"""

import socket
from urllib.parse import urlsplit

from paceline.commands.doctor.findings import Finding, ok, warn
from paceline.concurrency import run_in_daemon_thread
from paceline.log import shown_hosts


async def check_listening(
    name: str, target: str, mend: str, *, seconds: float = 3.0
) -> list[Finding]:
    """A warning when nothing listens at ``target``, "host:port" or a URL with a port."""
    parts = urlsplit(target if "//" in target else f"//{target}")
    where = shown_hosts(target) or "its address"

    def connect() -> None:
        socket.create_connection((parts.hostname or "", parts.port or 0), seconds).close()

    try:
        await run_in_daemon_thread(connect, name=f"{name} check")
    except OSError as exc:
        reason = "no answer in time" if isinstance(exc, TimeoutError) else exc.strerror
        return [
            warn(name, f"nothing listens at {where}: {(reason or 'unreachable').lower()}", mend)
        ]
    return [ok(name, f"something listens at {where}")]
