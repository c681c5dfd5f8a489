"""The last step before an engine's program runs: become its account, tie it to us, exec.

Run as a script by ``supervisor`` (``python -I -S launch.py PARENT SIGNAL UID GID PROGRAM ARG…``),
so it imports the standard library only. A program of its own, not a ``preexec_fn``: that runs
Python between fork and exec, which is not safe once the parent has threads. The order is the
point: the account first, since changing it forgets the death signal; then the signal; then the
check that the parent did not die in between, since then nobody would ever send it.
"""

import ctypes
import os
import signal
import sys
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
ORPHANED = 121
"""Exit status when the parent died before the program could be tied to it."""


def main(parent: int, death: int, uid: int, gid: int, command: list[str]) -> NoReturn:
    """Replace this process by the command's. Exits with `ORPHANED` when the parent is gone."""
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    # An ignored signal would stay so after exec: the interpreter ignores two, and a shell that
    # starts us in the background SIGINT and SIGQUIT, which are how the engine is stopped.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, death) != 0:
            failure = ctypes.get_errno()
            raise OSError(failure, os.strerror(failure), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit(ORPHANED)
    os.execv(command[0], command)  # noqa: S606 - a program without a shell is what is wanted


if __name__ == "__main__":
    _parent, _death, _uid, _gid = (int(word) for word in sys.argv[1:5])
    main(_parent, _death, _uid, _gid, sys.argv[5:])
