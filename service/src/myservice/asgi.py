"""The service under any ASGI server: ``uvicorn myservice.asgi:app``.

Nothing is built by importing this module; asking for ``app`` reads the environment and wires the
service, and the server's lifespan starts and stops it (PEP 562). Timeouts and limits of
connections are then that server's business. ``myservice serve`` is the ordinary way.
"""

from pathlib import Path

from myservice.config import ServeConfig
from myservice.main import build
from myservice.schema import migrations
from paceline.config import load
from paceline.http import App
from paceline.log import setup
from paceline.postgres.migrate import SchemaCheck


def create_app() -> App:
    """The wired application. Errors: ConfigError that lists what is missing or wrong."""
    config = load(ServeConfig, dotenv=Path(".env")).config
    log = setup(config.log_level, format=config.log_format)
    schema = SchemaCheck(config.get_database_url(), migrations(), program="myservice")
    return build(config, log, before=[schema], with_server=False).app


def __getattr__(name: str) -> App:
    if name != "app":
        raise AttributeError(name)
    app = globals()["app"] = create_app()
    return app
