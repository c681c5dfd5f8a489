"""TCP ports of 127.0.0.1 that stay the same: chosen once, then stored in the data folder.

Chosen below 32768, because above it the kernel gives ports to outgoing connections, and a server
that restarts could find its own taken. A stored port that is in use is an error and no reason to
choose another, because clients have the address.
"""

import secrets
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from paceline.engines.errors import EngineError
from paceline.engines.folder import read_or_create_text

_LOWEST: Final = 20_000
_BEYOND: Final = 32_768
_END: Final = 65_536
_TRIES: Final = 200


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that are free now, all different. Errors: `EngineError` when there are none.

    They are not reserved: another process may take one.
    """
    with ExitStack() as held:
        found: list[int] = []
        for _ in range(_TRIES):
            if len(found) == count:
                break
            port = _LOWEST + secrets.randbelow(_BEYOND - _LOWEST)
            listener = held.enter_context(socket.socket())
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    if len(found) < count:
        raise EngineError(f"no free ports on 127.0.0.1 between {_LOWEST} and {_BEYOND}")
    return tuple(found)


def read_or_choose_ports(path: Path, count: int) -> tuple[int, ...]:
    """The ports in the file, which are chosen and stored at the first call.

    Errors: `EngineError` when the file holds something else; ``OSError``.
    """
    text = read_or_create_text(path, lambda: " ".join(str(port) for port in free_ports(count)))
    try:
        ports = tuple(int(word) for word in text.split())
    except ValueError:
        ports = ()
    if len(ports) != count or not all(0 < port < _END for port in ports):
        raise EngineError(f"{path} does not hold {count} ports: remove it, then others are chosen")
    return ports
