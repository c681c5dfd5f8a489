"""A file that appears under its name when it is whole: written beside it, then renamed.

Invariant: no symbolic link is followed, neither at the name nor at that of the file beside it
(``NAME.part``), so who may write into the folder cannot direct what is written to another file; and
what is incomplete never has the name.
"""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

_OF_THE_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


@contextmanager
def whole_file(path: Path) -> Generator[BinaryIO]:
    """A file to write, which is ``path`` once the block has ended; after an exception, nothing is.

        with whole_file(Path("all.csv")) as file:
            file.write(b"...")

    Errors: OSError; a full or broken disk is told with the path.
    """
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)  # of a run that was killed, or a link
    with os.fdopen(os.open(part, _NEW, 0o666), "wb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)
        except BaseException as exc:
            part.unlink(missing_ok=True)
            if isinstance(exc, OSError) and exc.errno in _OF_THE_DISK and exc.filename is None:
                exc.filename = str(path)
            raise
