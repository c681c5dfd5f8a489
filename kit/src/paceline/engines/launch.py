"""The last step before a server's program runs: change the account, set the death signal, exec.

A script (``python -I -S launch.py PARENT SIGNAL UID GID PROGRAM ARG…``) that imports only the
standard library. Rejected: a ``preexec_fn``, which runs Python between fork and exec and is not
safe once the parent has threads. The order matters: the account first, because changing it clears
the death signal; then the signal; then the check that the parent has not died in between, because
the signal would then never be sent.
"""

import ctypes
import os
import signal
import sys
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
PARENT_GONE = 121
"""Exit status when the parent died before the death signal was set."""


def main(parent: int, death_signal: int, uid: int, gid: int, command: list[str]) -> NoReturn:
    """Replace this process by the command's. Exits with `PARENT_GONE` when the parent is gone."""
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    # An ignored signal stays ignored after exec: the interpreter ignores two, and a shell that
    # starts a background job SIGINT and SIGQUIT, which stop the server.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, death_signal) != 0:
            failure = ctypes.get_errno()
            raise OSError(failure, os.strerror(failure), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit(PARENT_GONE)
    os.execv(command[0], command)  # noqa: S606 - a program without a shell is what is wanted


if __name__ == "__main__":
    _parent, _signal, _uid, _gid = (int(word) for word in sys.argv[1:5])
    main(_parent, _signal, _uid, _gid, sys.argv[5:])
