"""Data folders: locked by one process at a time, private to one account, files written atomically.

Invariant: while a `FolderLock` is held no other process starts a server on that folder, so a server
found running there is left over from a holder that died. The lock is the kernel's (``flock``) and
ends with the process that holds it, or with the server that inherited it, whichever is later; the
pid in the file is only for messages and for `FolderLock.acquire_within`. Rejected: a pid file
alone, which is wrong once the pid is reused.
"""

import asyncio
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from paceline.engines.errors import EngineError

_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_POLL: Final = 0.01


class FolderLock:
    """An exclusive lock on a folder.

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
            message = (
                f"{self._path} belongs to another account: use that account, or remove the file"
            )
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

    async def acquire_within(self, seconds: float) -> None:
        """As `acquire`, but wait up to ``seconds`` for a server whose parent has died.

        Errors: `EngineError` when the holder is alive, or after that time.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            try:
                return self.acquire()
            except EngineError:
                if loop.time() > end or not self._holder_is_dead():
                    raise
            await asyncio.sleep(_POLL)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    @property
    def descriptor(self) -> int:
        """For a server to inherit, which then keeps the lock until it ends."""
        if self._file is None:
            raise EngineError(f"{self._path} is not locked")
        return self._file

    def _holder_is_dead(self) -> bool:
        try:
            os.kill(int(self._path.read_text(encoding="ascii")), 0)
        except ProcessLookupError:
            return True
        except (OSError, ValueError, OverflowError):
            return False
        return False

    def release(self) -> None:
        """Release the lock, if it is held. The file stays, for the next holder."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def make_data_folder(path: Path) -> Path:
    """Create the data folder, for the current account only. Errors: `EngineError`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise EngineError(f"cannot use the data folder {path}: {exc.strerror}") from exc
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        message = f"cannot use the data folder {path}: it belongs to another account"
        raise EngineError(message)
    return path


def make_private_folder(path: Path, *, mode: int) -> Path:
    """Create ``path`` with ``mode``, or check that only the current account may write to it.

    For folders below ``/tmp`` and the like, where another account may have created it first.
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
        message = f"{path} is not a folder that only this account may write to: remove it"
        raise EngineError(message)
    return path


def write_private(path: Path, text: str, *, uid: int, gid: int) -> None:
    """Replace the file atomically, readable by its owner only."""
    aside = path.with_name(f"{path.name}.new")
    aside.unlink(missing_ok=True)
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        os.fchown(file, uid, gid)
        stream.write(text)
        stream.flush()
        os.fsync(file)
    aside.replace(path)


def read_or_create_text(path: Path, make: Callable[[], str]) -> str:
    """The text of a file, which is created from ``make()`` and readable by its owner only.

    It is written to another file and linked into place, so concurrent first calls return one text
    and a killed one leaves no partial file. The folder is created, too.

    Errors: `EngineError` when the folder cannot be used; ``OSError``.
    """
    if not path.exists():
        make_data_folder(path.parent)
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(make())
            stream.flush()
            os.fsync(file)
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_text(encoding="utf-8")
