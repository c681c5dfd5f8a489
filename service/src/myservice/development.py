"""What ``run`` adds to the service: its own PostgreSQL, its own token secret, a greeting.

Only for what was not given: with ``APP_DATABASE_URL`` no server is started, with
``APP_JWT_SECRET`` no secret is made. The secret is kept in the data folder, readable by its owner
only, so tokens outlive a restart. Everything meant for people goes to stderr; stdout is the log's.
Called by ``cli``; the server itself is ``paceline.engines``.
"""

import os
import secrets
import sys
from pathlib import Path

from myservice.config import Config
from myservice.main import Built
from myservice.schema import SchemaUpgrade
from paceline.auth import issue_token
from paceline.clock import SystemClock
from paceline.config import format_duration
from paceline.engines import PostgresEngine
from paceline.lifecycle import Service
from paceline.log import Logger
from paceline.migrate import Step

_SUBJECT = "developer"
_SCOPES = (
    "records:read", "records:write",
    "accounts:read", "accounts:write", "accounts:operate", "transfers:write",
)  # fmt: skip


class Development:
    """The settings and services of ``run``."""

    def __init__(self, config: Config, log: Logger) -> None:
        self.services: list[Service] = []
        folder = config.data_dir
        if config.database_url is None:
            engine = PostgresEngine(
                log, data_dir=folder / "postgres", port=config.pg_port, progress=say
            )
            database_url = engine.dsn()
            self.services.append(engine)
        else:
            database_url = config.get_database_url()
        self.services.append(SchemaUpgrade(database_url, _SayMigrations()))
        given = config.jwt_secret
        self._secret = given.reveal() if given else kept_secret(folder / "jwt-secret")
        own = config.with_own(database_url=database_url, jwt_secret=self._secret)
        self.config = own.replaced(grpc_reflection=True)

    def greet(self, built: Built) -> None:
        """Say where the service is and how to try it."""
        config = self.config
        port = built.server.port if built.server else config.port
        url = f"http://{config.host}:{port}"
        rpc_port = built.rpc_server.port if built.rpc_server else config.grpc_port
        token = issue_token(
            self._secret.encode(),
            subject=_SUBJECT,
            scopes=_SCOPES,
            expiry=config.token_expiry,
            clock=SystemClock(),
            issuer=config.jwt_issuer,
            audience=config.jwt_audience,
        )
        body = '{"name": "first", "metadata": {"colour": "blue"}, "data": {"n": 1}}'
        say(
            f"\nmyservice is ready on {url}\n"
            f"Ctrl-C stops it. Its data stays in {config.data_dir}; the API is at {url}/docs\n\n"
            f"Try it (this token is good for {format_duration(config.token_expiry)}):\n\n"
            f"TOKEN={token}\n"
            f'curl -i {url}/api/v1/records -H "Authorization: Bearer $TOKEN" \\\n'
            f"  -H 'Content-Type: application/json' -d '{body}'\n"
            f'curl -s {url}/api/v1/records -H "Authorization: Bearer $TOKEN"\n'
            f'grpcurl -plaintext -H "authorization: Bearer $TOKEN" {config.host}:{rpc_port} '
            "myservice.v1.RecordService/ListRecords\n"
        )


class _SayMigrations:
    def applied(self, step: Step, seconds: float) -> None:
        """Tell of one migration."""
        say(f"migrated {step} in {seconds * 1000:.0f} ms")


def say(line: str) -> None:
    """A line for people."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def kept_secret(path: Path) -> str:
    """The secret in the file, which is made at the first call.

    It is written aside and linked into place, so two first runs at once agree on one secret and a
    killed one leaves no half.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        aside = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_text()
