"""Where clients find the server's socket: a path short and plain enough for every driver.

The server always listens inside its own folder, through a relative path, which no depth makes too
long and nobody else may enter. Clients must spell it out, and the kernel takes about a hundred
bytes: for a folder deeper than that they go through a short symbolic link whose name depends on
the folder only. Used by ``postgres``.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from paceline.engines.folder import own_folder

_LIMIT: Final = 103  # sun_path without its final zero: 107 on Linux, 103 on macOS and the BSDs
_LONGEST_NAME: Final = len("/.s.PGSQL.65535")
# Drivers cut a list of hosts at commas and read URLs their own way: no guessing.
_PLAIN: Final = re.compile(r"/[A-Za-z0-9/._+@-]*")


def client_folder(cluster: Path, runtime: Path) -> Path:
    """The folder that a client names as its host: the cluster, or a link to it in ``runtime``.

    Pure: `make_link` makes it so.
    """
    text = str(cluster)
    if len(os.fsencode(text)) + _LONGEST_NAME <= _LIMIT and _PLAIN.fullmatch(text):
        return cluster
    return runtime / hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


def make_link(cluster: Path, folder: Path) -> None:
    """Make ``folder`` lead to the cluster. Errors: `EngineError` for a runtime folder not ours."""
    if folder == cluster:
        return
    own_folder(folder.parent, mode=0o700)
    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    aside.symlink_to(cluster, target_is_directory=True)
    aside.replace(folder)


def remove_link(cluster: Path, folder: Path) -> None:
    """Undo `make_link`."""
    if folder != cluster:
        folder.unlink(missing_ok=True)


def runtime_folder(environment: Mapping[str, str], uid: int) -> Path:
    """Where our links live: ``/run`` for root, ``$XDG_RUNTIME_DIR``, else the temporary folder."""
    if uid == 0:
        return Path("/run/paceline")
    given = environment.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/") and Path(given).is_dir() and Path(given).stat().st_uid == uid:
        return Path(given, "paceline")
    return Path(tempfile.gettempdir(), f"paceline-{uid}")
