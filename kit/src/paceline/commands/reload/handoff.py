"""What the supervisor hands to a child: sockets, the engines' addresses, whom it is part of.

It travels in an environment variable, which only the same user can read, and which is removed when
it is read. The lines that both send over the link are here, too.
"""

import os
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from paceline.commands.instance import Instance
from paceline.commands.prefork import WorkerHandoff
from paceline.commands.reload.program import loaded_libraries
from paceline.commands.settings import LISTENERS, ServiceSettings

C = TypeVar("C", bound=ServiceSettings)

VARIABLE: Final = "PACELINE_RELOAD"
PRELOAD: Final = b"preload "
"""To a child: import these modules, a JSON list."""
GO: Final = b"go\n"
GO_FIRST: Final = b"go first\n"
"""To a child: start. The first one says where everything is."""
LIBRARIES: Final = b"libraries "
"""From a child: the modules that it has imported and that do not change, a JSON list."""

_STOP_TIMEOUT: Final = 2.0  # seconds for requests in flight


class ReloadHandoff(msgspec.Struct, frozen=True, kw_only=True):
    """What a child gets. ``engine_urls``: by field of the settings. ``roots``: of its source."""

    worker: WorkerHandoff
    instance: Instance
    data_dir: str
    engine_urls: dict[str, str]
    roots: list[str]
    admin_port: int
    first: bool = False

    def adapt(self, config: C) -> C:
        """The settings on the supervisor's sockets, with a short end: another child takes over."""
        ports = {LISTENERS[server]: port for server, port in self.worker.ports.items()}
        ports["admin_port"] = self.admin_port
        changes: dict[str, object] = {
            "data_dir": Path(self.data_dir),
            "drain_delay": 0.0,
            "shutdown_timeout": min(config.shutdown_timeout, _STOP_TIMEOUT),
            "keep_alive_grace": 0.0,
            "grpc_connection_age": 0.0,
            **{field: port for field, port in ports.items() if port},
        }
        known = type(config).model_fields
        return config.replaced(**{name: new for name, new in changes.items() if name in known})


def encode(handoff: ReloadHandoff) -> str:
    """As text for the environment."""
    return msgspec.json.encode(handoff).decode()


def libraries_line(handoff: ReloadHandoff) -> bytes:
    """What a child reports once it is ready: what the next one can import before it starts."""
    return LIBRARIES + msgspec.json.encode(loaded_libraries(handoff.roots)) + b"\n"


def take_handoff() -> ReloadHandoff | None:
    """What a supervisor handed to this process, the first time; None without a supervisor."""
    text = os.environ.pop(VARIABLE, None)
    return None if text is None else msgspec.json.decode(text, type=ReloadHandoff)
