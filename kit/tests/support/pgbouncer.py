"""PgBouncer in front of a test's PostgreSQL, as the Debian package has it."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pytest

_PATIENCE = 10.0
_CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {servers}
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
logfile = {folder}/log
pidfile = {folder}/pid
"""


@contextmanager
def pgbouncer_before(
    dsn: str, folder: Path, *, mode: str = "transaction", servers: int = 3
) -> Generator[str]:
    """The URL of a PgBouncer with so many sessions of ``dsn``; the test is skipped without one."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen: int = free.getsockname()[1]
    parts = urlsplit(dsn)
    server = dict(parse_qsl(parts.query))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pgbouncer.ini"
    file.write_text(
        _CONFIGURATION.format(
            host=server["host"], port=server["port"], user=parts.username, listen=listen,
            mode=mode, servers=servers, folder=folder,
        )
    )  # fmt: skip
    # It refuses to run as root, and the server's socket is for the server's own account.
    account = Path(server["host"]).stat()
    if os.getuid() == 0:
        os.chown(folder, account.st_uid, account.st_gid)
        for each in (*folder.parents[:-2], Path(server["host"]).parent):
            each.chmod(each.stat().st_mode | 0o011)
    process = subprocess.Popen(
        [program, str(file)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        user=account.st_uid if os.getuid() == 0 else None,
        group=account.st_gid if os.getuid() == 0 else None,
    )  # fmt: skip
    try:
        _until_listening(listen, process)
        netloc = f"{parts.username}@127.0.0.1:{listen}"
        yield urlunsplit(parts._replace(netloc=netloc, query=""))
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
        process.kill()
        process.communicate()


def _until_listening(port: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"PgBouncer does not listen: {process.communicate()[1]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
