"""The configuration file of a NATS server of ours.

A file and not arguments, which everybody on the machine may read: it holds the password. Everything
listens on 127.0.0.1 only. A node of a cluster lets the others in by the same secret and does not
advertise them to clients, which get all addresses, each with its password, from us. Pure text;
``nats`` writes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USER: Final = "paceline"


@dataclass(frozen=True, slots=True)
class NatsNode:
    """A server's place in a cluster on this machine.

    ``name``: its own, ``cluster``: the cluster's; ``port``: where the others reach it, ``peers``:
    where it reaches them (its own may be among them); ``secret``: lets nodes and clients in, the
    same for all nodes, letters and digits only.
    """

    name: str
    cluster: str
    port: int
    peers: Sequence[int]
    secret: str


def config_text(
    *,
    port: int,
    monitor_port: int,
    monitor_path: str,
    password: str,
    store: Path,
    max_payload: int,
    node: NatsNode | None = None,
) -> str:
    """The file. ``max_payload`` in bytes."""
    lines = [
        "# Written at every start.",
        f"listen: 127.0.0.1:{port}",
        f"http: 127.0.0.1:{monitor_port}",
        f"http_base_path: {quoted(monitor_path)}",
        f"max_payload: {max_payload}",
        f"authorization {{ user: {USER}, password: {quoted(password)} }}",
        "jetstream {",
        f"  store_dir: {quoted(str(store))}",
        "  sync_interval: always",
        "}",
    ]
    if node is not None:
        routes = (f"nats://{USER}:{node.secret}@127.0.0.1:{peer}" for peer in node.peers)
        lines += [
            f"server_name: {quoted(node.name)}",
            "cluster {",
            f"  name: {quoted(node.cluster)}",
            f"  listen: 127.0.0.1:{node.port}",
            "  no_advertise: true",
            f"  authorization {{ user: {USER}, password: {quoted(node.secret)} }}",
            f"  routes: [{', '.join(quoted(route) for route in routes)}]",
            "}",
        ]
    return "\n".join([*lines, ""])


def quoted(text: str) -> str:
    """A text as the file's language wants it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'
