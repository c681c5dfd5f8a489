"""``config``: the settings in effect, and where each came from.

They are read as ``migrate``, ``token`` and the like read them, with what a running development
instance has, which ``serve`` and ``worker`` do not look at; the origin says so. A setting that
``serve`` needs may be missing here. Secrets are masked.
"""

from typing import Annotated

import typer

from paceline.commands.options import ConfigFile, DataDir, load_or_fail
from paceline.commands.spec import ServiceSpec
from paceline.config import effective_settings, settings_as_json, settings_as_text


def config_commands(spec: ServiceSpec) -> typer.Typer:
    """The command, for `list_commands`."""
    settings = spec.get_config()
    app = typer.Typer()
    example = f"Example: {settings.variable('admin_port')}=9000 {spec.program} config"

    @app.command("config", epilog=example)
    def config(
        *,
        as_data: Annotated[
            bool, typer.Option("--json", help="As JSON, with each one's help.")
        ] = False,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Print the effective configuration and where each value came from; secrets are masked."""
        flags = {"data_dir": data_dir}
        rows = effective_settings(load_or_fail(settings, flags, config_file, running=True))
        typer.echo(settings_as_json(rows) if as_data else settings_as_text(rows), nl=False)

    return app
