"""A child of ``run --reload``: ``python -m paceline.commands.reload KIND TARGET ARGUMENT…``.

It imports the libraries it is told, waits until it may start, and runs the program. Until then
Ctrl-C on the terminal, which reaches every process there, is not its own.
"""

import os
import signal
import socket
import sys

import msgspec

from paceline.commands.reload.handoff import GO_FIRST, PRELOAD, VARIABLE, ReloadHandoff, encode
from paceline.commands.reload.program import Kind, Program, explain_failure, preload

_CHUNK = 1 << 16


def main() -> int:
    """Run it; the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    text, words = os.environ.pop(VARIABLE, None), sys.argv[1:]
    if text is None or len(words) < 2 or words[0] not in ("script", "module"):  # noqa: PLR2004 - kind and target
        sys.stderr.write("This is started by a service's own command: run --reload\n")
        return 2
    handoff = msgspec.json.decode(text, type=ReloadHandoff)
    with socket.fromfd(handoff.worker.link, socket.AF_UNIX, socket.SOCK_STREAM) as link:
        while (line := _read_line(link)).startswith(PRELOAD):
            preload(msgspec.json.decode(line[len(PRELOAD) :], type=list[str]))
    if not line:
        return 0  # the supervisor has ended
    first = line == GO_FIRST
    os.environ[VARIABLE] = encode(msgspec.structs.replace(handoff, first=first))
    kind: Kind = "script" if words[0] == "script" else "module"
    try:
        Program((), kind, words[1], tuple(words[2:])).run()
    except Exception as exc:  # noqa: BLE001 - whatever is wrong with the service's source
        sys.stderr.write(explain_failure(exc, handoff.roots))
        return 1
    return 0


def _read_line(link: socket.socket) -> bytes:
    """A line, or what there was before the end; nothing of the next line is taken."""
    line = b""
    while not line.endswith(b"\n"):
        seen = link.recv(_CHUNK, socket.MSG_PEEK)
        if not seen:
            break
        end = seen.find(b"\n") + 1
        line += link.recv(end or len(seen))
    return line


if __name__ == "__main__":
    sys.exit(main())
