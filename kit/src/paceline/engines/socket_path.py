"""The path of a server's Unix socket for clients: short and plain enough for every driver.

The server listens inside its own folder, which no other account may enter, through a relative path,
which is short at any depth. Clients need the absolute path, and the kernel accepts about a hundred
bytes: for a deeper folder they use a symbolic link with a short name, derived from the folder only.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from paceline.engines.folder import make_private_folder

_LIMIT: Final = 103  # sun_path without its final zero: 107 on Linux, 103 on macOS and the BSDs
_LONGEST_NAME: Final = len("/.s.PGSQL.65535")
# Drivers split hosts at commas and parse URLs differently: only characters that all accept.
_PLAIN: Final = re.compile(r"/[A-Za-z0-9/._+@-]*")


def socket_folder(cluster: Path, runtime: Path) -> Path:
    """The folder that a client uses as host: ``cluster``, or a link to it in ``runtime``.

    Pure: `make_link` creates the link.
    """
    text = str(cluster)
    if len(os.fsencode(text)) + _LONGEST_NAME <= _LIMIT and _PLAIN.fullmatch(text):
        return cluster
    return runtime / hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


def make_link(cluster: Path, folder: Path) -> None:
    """Create the link, if one is needed. Errors: `EngineError` for a runtime folder not ours."""
    if folder == cluster:
        return
    make_private_folder(folder.parent, mode=0o700)
    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    aside.symlink_to(cluster, target_is_directory=True)
    aside.replace(folder)


def remove_link(cluster: Path, folder: Path) -> None:
    """Undo `make_link`."""
    if folder != cluster:
        folder.unlink(missing_ok=True)


def runtime_folder(environment: Mapping[str, str], uid: int) -> Path:
    """The folder of the links: ``/run`` for root, ``$XDG_RUNTIME_DIR``, else the temporary one."""
    if uid == 0:
        return Path("/run/paceline")
    configured = environment.get("XDG_RUNTIME_DIR", "")
    if (
        configured.startswith("/")
        and Path(configured).is_dir()
        and Path(configured).stat().st_uid == uid
    ):
        return Path(configured, "paceline")
    return Path(tempfile.gettempdir(), f"paceline-{uid}")
