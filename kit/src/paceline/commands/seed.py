"""``seed``: sample data for development, as the service makes them (`ServiceSpec.seed`).

Running it again changes nothing, which is the service's promise.
"""

import typer

from paceline.commands.one_off import load_for
from paceline.commands.options import ConfigFile, DatabaseUrl, DataDir
from paceline.commands.settings import PostgresSettings
from paceline.commands.spec import ServiceSpec


def seed_commands(spec: ServiceSpec) -> typer.Typer:
    """The command, for `list_commands`."""
    settings = spec.get_config()
    app = typer.Typer()

    @app.command("seed", epilog=f"Example: {spec.program} seed, beside {spec.program} run")
    def seed(
        database_url: DatabaseUrl = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Make sample data; what is there already stays as it is."""
        flags = {"data_dir": data_dir}
        if issubclass(settings, PostgresSettings):
            flags["database_url"] = database_url
        config = load_for(settings, "seed", flags, config_file)
        made = spec.get_seed()(config)
        new = [f"{count} {what}" for what, count in made.items() if count]
        typer.echo(f"made {', '.join(new)}" if new else "nothing to make: all of it is there")

    return app
