"""``health``: whether the process beside it answers, for the health check of a container.

It asks the admin port that the environment names, as the process itself has it, so an image needs
no curl. Rejected: asking the public port, which a worker has not and which may ask for clients'
certificates.
"""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from paceline.commands.options import fail
from paceline.commands.spec import ServiceSpec
from paceline.commands.top import AdminClient, Trust, Unreachable

_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def health_commands(spec: ServiceSpec) -> typer.Typer:
    """The command, for `list_commands`."""
    settings = spec.get_config()
    app = typer.Typer()

    @app.command("health", epilog=f"Example: HEALTHCHECK CMD {spec.name} health")
    def health(
        *,
        ready: Annotated[
            bool, typer.Option("--ready", help="Ask whether it takes requests, not only answers.")
        ] = False,
    ) -> None:
        """Ask the process on this machine whether it is well; exit code 1 if not."""
        given = {
            name: os.environ.get(settings.variable(name)) or ""
            for name in ("admin_host", "admin_port", "admin_tls_cert")
        }
        port = given["admin_port"] or str(settings.model_fields["admin_port"].default)
        client = AdminClient(
            f"{'https' if given['admin_tls_cert'] else 'http'}"
            f"://{_reached(given['admin_host'])}:{port}",
            trust=Trust(pinned=Path(given["admin_tls_cert"]) if given["admin_tls_cert"] else None),
        )
        try:
            failing = client.probe(ready=ready)
        except Unreachable as exc:
            fail(
                f"{client.url}: {exc.message}. It is the address of"
                f" {settings.variable('admin_host')} and {settings.variable('admin_port')}."
            )
        if failing:
            fail(f"{client.url} is not ready: {'; '.join(failing)}")
        typer.echo("ready" if ready else "ok")

    return app


def _reached(host: str) -> str:
    """The address at which this machine reaches what listens on ``host``."""
    if not host or host in _EVERYWHERE:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
