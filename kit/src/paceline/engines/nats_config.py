"""The configuration file of an embedded NATS server, as text.

A file, not arguments, because it holds the password and every account may read arguments.
Everything listens on 127.0.0.1 only. The nodes of a cluster authenticate one another by one secret
and are not advertised to clients, which get all addresses from the engines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USER: Final = "paceline"


@dataclass(frozen=True, slots=True)
class NatsNode:
    """A server's place in a cluster on this machine.

    ``name``: its own; ``cluster``: the cluster's; ``port``: of its route listener; ``peers``: those
    of the nodes (its own may be among them); ``secret``: the password of nodes and clients, the
    same for all nodes, letters and digits only.
    """

    name: str
    cluster: str
    port: int
    peers: Sequence[int]
    secret: str


def render_config(
    *,
    port: int,
    monitor_port: int,
    monitor_path: str,
    password: str,
    store: Path,
    max_payload: int,
    node: NatsNode | None = None,
) -> str:
    """The file's content. ``max_payload`` in bytes."""
    lines = [
        "# Written at every start.",
        f"listen: 127.0.0.1:{port}",
        f"http: 127.0.0.1:{monitor_port}",
        f"http_base_path: {quote(monitor_path)}",
        f"max_payload: {max_payload}",
        f"authorization {{ user: {USER}, password: {quote(password)} }}",
        "jetstream {",
        f"  store_dir: {quote(str(store))}",
        "  sync_interval: always",
        "}",
    ]
    if node is not None:
        routes = (f"nats://{USER}:{node.secret}@127.0.0.1:{peer}" for peer in node.peers)
        lines += [
            f"server_name: {quote(node.name)}",
            "cluster {",
            f"  name: {quote(node.cluster)}",
            f"  listen: 127.0.0.1:{node.port}",
            "  no_advertise: true",
            f"  authorization {{ user: {USER}, password: {quote(node.secret)} }}",
            f"  routes: [{', '.join(quote(route) for route in routes)}]",
            "}",
        ]
    return "\n".join([*lines, ""])


def quote(text: str) -> str:
    """A string literal of the file's syntax."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'
