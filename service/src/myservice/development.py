"""What ``run`` adds to the service: its own engines, its own token secret, a greeting.

Only for what was not given: with ``APP_DATABASE_URL`` no PostgreSQL is started, with
``APP_JWT_SECRET`` no secret is made; and only engines that something uses. The secret is kept in
the data folder, readable by its owner only, so tokens outlive a restart. Everything meant for
people goes to stderr; stdout is the log's. Called by ``serving_cli``; the servers themselves are
``paceline.engines``.
"""

import secrets
import shlex
import sys

from myservice.config import Config
from myservice.main import Built
from myservice.schema import migrations
from myservice.scopes import SCOPES
from myservice.tokens import new_token
from paceline.config import format_duration
from paceline.engines import (
    EngineGroup,
    NatsEngine,
    PostgresEngine,
    RedisEngine,
    read_or_create_text,
)
from paceline.lifecycle import Service
from paceline.log import Logger
from paceline.postgres.migrate import SchemaUpgrade, Step

_SUBJECT = "developer"

_ORDER = r"""JSON="Content-Type: application/json"
A=$(curl -s $API/accounts -H "$AUTH" -H "$JSON" -d '{}' | grep -o '[0-9a-f-]\{36\}')
B=$(curl -s $API/accounts -H "$AUTH" -H "$JSON" -d '{}' | grep -o '[0-9a-f-]\{36\}')
curl -s -o /dev/null $API/accounts/$A/credits -H "$AUTH" -H "$JSON" -d '{"amount": 1000}'
DRAFT='{"from": "'$A'", "to": "'$B'", "amount": 250}'
ORDER=$(curl -s $API/orders -H "$AUTH" -H "$JSON" -d "$DRAFT" |
  grep -o '[0-9a-f-]\{36\}' | head -1)
sleep 1; curl -s $API/orders/$ORDER -H "$AUTH"; echo
"""


class Development:
    """The settings and services of ``run``. ``redis``: whether the service uses it."""

    def __init__(self, config: Config, log: Logger, *, redis: bool = False) -> None:
        folder = config.data_dir
        given = config.jwt_secret
        secret = (
            given.reveal() if given else read_or_create_text(folder / "jwt-secret", _new_secret)
        )
        own = _OwnEngines(config, log)
        database_url = own.postgres() if config.database_url is None else config.get_database_url()
        self._own_nats = config.nats_url is None
        self.config = config.replaced(grpc_reflection=True).with_own(
            database_url=database_url,
            jwt_secret=secret,
            nats_url=own.nats() if self._own_nats else None,
            redis_url=own.redis() if redis and config.redis_url is None else None,
        )
        self.services: list[Service] = [EngineGroup(own.engines)] if own.engines else []
        self.services.append(SchemaUpgrade(database_url, migrations(), _SayMigrations()))

    def greet(self, built: Built) -> None:
        """Say where the service is and how to try it."""
        config = self.config
        port = built.server.port if built.server else config.port
        url = f"http://{config.host}:{port}"
        rpc_port = built.rpc_server.port if built.rpc_server else config.grpc_port
        token = new_token(config, _SUBJECT, SCOPES)
        body = '{"name": "first", "metadata": {"colour": "blue"}, "data": {"n": 1}}'
        say(
            f"\nmyservice is ready on {url}\n"
            f"Ctrl-C stops it. Its data stays in {config.data_dir}; the API is at {url}/docs\n"
            f"{_admin(built)}{self._dead_letters()}\n"
            f"Try it (this token is good for {format_duration(config.token_expiry)}):\n\n"
            f"TOKEN={token}\n"
            f'curl -i {url}/api/v1/records -H "Authorization: Bearer $TOKEN" \\\n'
            f"  -H 'Content-Type: application/json' -d '{body}'\n"
            f'curl -s {url}/api/v1/records -H "Authorization: Bearer $TOKEN"\n'
            "# An order, paid by the worker a moment later:\n"
            f'API={url}/api/v1 AUTH="Authorization: Bearer $TOKEN"\n'
            f"{_ORDER}"
            f'grpcurl -plaintext -H "authorization: Bearer $TOKEN" {config.host}:{rpc_port} '
            "myservice.v1.RecordService/ListRecords\n"
        )

    def _dead_letters(self) -> str:
        if not self._own_nats:
            return ""
        where = shlex.quote(str(self.config.data_dir))
        return f"What could not be handled: myservice dead list --data-dir {where}\n"


class _OwnEngines:
    """Engines in the data folder: each method adds one, not started, and gives its URL."""

    def __init__(self, config: Config, log: Logger) -> None:
        self._config = config
        self._log = log
        self.engines: list[PostgresEngine | NatsEngine | RedisEngine] = []

    def postgres(self) -> str:
        folder = self._config.data_dir / "postgres"
        engine = PostgresEngine(self._log, data_dir=folder, port=self._config.pg_port, progress=say)
        self.engines.append(engine)
        return engine.dsn()

    def nats(self) -> str:
        engine = NatsEngine(self._log, data_dir=self._config.data_dir / "nats", progress=say)
        self.engines.append(engine)
        return engine.url

    def redis(self) -> str:
        engine = RedisEngine(self._log, data_dir=self._config.data_dir / "redis", progress=say)
        self.engines.append(engine)
        return engine.url


class _SayMigrations:
    def applied(self, step: Step, seconds: float) -> None:
        """Tell of one migration."""
        say(f"migrated {step} in {seconds * 1000:.0f} ms")


def _admin(built: Built) -> str:
    if built.admin is None:
        return ""
    url = built.admin.url
    return f"For operators: {url}/metrics, {url}/debug/state, {url}/debug/profile\n"


def _new_secret() -> str:
    return secrets.token_urlsafe(32)


def say(line: str) -> None:
    """A line for people."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
