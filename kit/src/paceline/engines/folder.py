"""One holder for a data folder, and folders that only we could have made.

Invariant: while a `FolderLock` is held nobody else starts a server on that folder, so what is
found running there is left over from a holder that died. The lock is the kernel's (``flock``) and
ends with the process that holds it, or with the server that it was handed on to, whichever is
later; the pid written into the file is only for the message and for patience. Rejected: a pid
file alone, which a reused pid makes a liar. Used all over this room.
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

    async def inherit(self, patience: float) -> None:
        """As `acquire`; a server whose parent died has ``patience`` seconds to let go.

        Errors: `EngineError` when somebody holds it who lives, or still after that time.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while True:
            try:
                return self.acquire()
            except EngineError:
                if loop.time() > end or not self._holder_is_dead():
                    raise
            await asyncio.sleep(_POLL)

    @property
    def held(self) -> bool:
        """Whether we hold it."""
        return self._file is not None

    @property
    def handle(self) -> int:
        """The descriptor to hand on to a server, which then keeps the lock until it ends."""
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
        """Give it back; nothing when it is not held. The file stays, for the next holder."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def data_folder(path: Path) -> Path:
    """Make the data folder, ours alone, unless it is there. Errors: `EngineError`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise EngineError(f"cannot use the data folder {path}: {exc.strerror}") from exc
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        message = f"cannot use the data folder {path}: it belongs to another account"
        raise EngineError(message)
    return path


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


def kept_text(path: Path, make: Callable[[], str]) -> str:
    """The text in the file, made at the first call and readable by its owner only.

    It is written aside and linked into place, so two first calls at once agree on one text and a
    killed one leaves no half. The folder is made, too, ours alone.

    Errors: `EngineError` when the folder cannot be used; ``OSError``.
    """
    if not path.exists():
        data_folder(path.parent)
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
