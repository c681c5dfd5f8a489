"""One holder for a data folder, and folders that only we could have made.

Invariant: while a `FolderLock` is held nobody else starts a server on that folder, so what is
found running there is left over from a holder that died. The lock is the kernel's (``flock``) and
ends with the process that holds it; the pid written into the file is only for the message.
Rejected: a pid file alone, which a reused pid makes a liar. Used by ``postgres``, ``programs`` and
``socket``.
"""

import fcntl
import os
import stat
from pathlib import Path
from typing import Final

from paceline.engines.errors import EngineError

_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class FolderLock:
    """The right to use a folder.

    *Resources*: holds an open file between `acquire` and `release`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock. Errors: `EngineError` naming the process that holds it; ``OSError``."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError as exc:
            message = f"{self._path} belongs to another account: go on as that, or remove the file"
            raise EngineError(message) from exc
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.read(file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            message = (
                f"the data folder {self._path.parent} is in use by process {holder}: stop that "
                "one first, or give this one a data folder of its own"
            )
            raise EngineError(message) from exc
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        """Give it back; nothing when it is not held. The file stays, for the next holder."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def own_folder(path: Path, *, mode: int) -> Path:
    """Create ``path`` with ``mode`` if need be, and make sure that it is ours alone to write.

    For folders below ``/tmp`` and the like, where somebody else may have put one first.
    Errors: `EngineError` when it belongs to another account or others may write to it.
    """
    try:
        path.mkdir(mode=mode, parents=True)
        path.chmod(mode)
    except FileExistsError:
        pass
    except OSError as exc:
        raise EngineError(f"cannot create the folder {path}: {exc.strerror}") from exc
    status = path.lstat()
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_mode & _WRITABLE_BY_OTHERS
    ):
        message = f"{path} is not a folder that belongs to us alone: remove it"
        raise EngineError(message)
    return path


def write_private(path: Path, text: str, *, uid: int, gid: int) -> None:
    """Replace the file in one step, readable by its owner only."""
    aside = path.with_name(f"{path.name}.new")
    aside.unlink(missing_ok=True)
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        os.fchown(file, uid, gid)
        stream.write(text)
        stream.flush()
        os.fsync(file)
    aside.replace(path)
