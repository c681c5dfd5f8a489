"""A service as an application for any ASGI server, without servers of its own."""

from pathlib import Path

from paceline.commands.process import new_log, wire
from paceline.commands.serve import schema_check
from paceline.commands.settings import ServiceSettings
from paceline.commands.spec import ServiceSpec
from paceline.commands.wiring import ProcessSpec
from paceline.config import load
from paceline.http import App


def new_asgi_app(spec: ServiceSpec) -> App:
    """The application of ``spec``, as the environment and ``.env`` say.

    Its lifespan starts and stops what it stands on. Errors: ConfigError that lists what is missing
    or wrong; those of the service's wiring.
    """
    config_class = spec.get_config()
    config: ServiceSettings = load(
        config_class,
        dotenv=Path(".env"),
        needed=lambda given: config_class.needed_by("serve", given),
        find_problems=lambda given: config_class.problems_for("serve", given),
    ).config
    process = wire(
        spec,
        config,
        new_log(config),
        ProcessSpec(
            service=spec.name,
            version=spec.version,
            listens=False,
            before=schema_check(spec, config),
        ),
    )
    return process.app
