"""Commands whose servers are away, or refuse them: sentences on stderr, one record in the log.

The sentences themselves are tested in the kit; here is what a real server makes of them.
"""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from service_process import MYSERVICE, PATIENCE, environment

from paceline.engines import NatsEngine, PostgresEngine
from paceline.testing import TEST_SECRET

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NOWHERE = "127.0.0.1:1"


@dataclass(frozen=True)
class Failure:
    """``says``: {host} and {queue} stand for the addresses of the servers that run."""

    id: str
    words: tuple[str, ...]
    says: str
    env: dict[str, str] = field(default_factory=dict[str, str])
    waits: str = ""
    records: int = 1


FAILURES = [
    Failure(
        "serve, PostgreSQL down", ("serve",),
        "myservice could not start: PostgreSQL is not running at 127.0.0.1:1.\n"
        "  Start it, or set APP_DATABASE_URL to the address of one that runs.\n",
        {"APP_DATABASE_URL": f"postgresql://app:hunter2@{NOWHERE}/app"},
        waits="Waiting for PostgreSQL at 127.0.0.1:1 (APP_DATABASE_URL).\n",
    ),
    Failure(
        "serve, wrong user", ("serve",),
        "myservice could not start: PostgreSQL at {host} refuses the user name or the password.\n"
        "  Correct them in APP_DATABASE_URL.\n",
        {"APP_DATABASE_URL": "{user}"},
    ),
    Failure(
        "worker, wrong database", ("worker",),
        "myservice could not start: PostgreSQL at {host} has no database nothere.\n"
        "  Create it, or correct the name at the end of APP_DATABASE_URL.\n",
        {"APP_DATABASE_URL": "{database}"},
    ),
    Failure(
        "worker, wrong login of NATS", ("worker",),
        "myservice could not start: NATS at {queue} refuses the user name or the password.\n"
        "  Correct them in APP_NATS_URL.\n",
        {"APP_DATABASE_URL": "{migrated}", "APP_NATS_URL": "nats://app:hunter2@{queue}"},
    ),
    Failure(
        "migrate, PostgreSQL down", ("migrate", "up"),
        "error: PostgreSQL is not running at 127.0.0.1:1.\n"
        "  Start it, or set APP_DATABASE_URL to the address of one that runs.\n",
        {"APP_DATABASE_URL": f"postgresql://app:hunter2@{NOWHERE}/app"},
        waits="Waiting for PostgreSQL at 127.0.0.1:1 (APP_DATABASE_URL).\n",
        records=0,
    ),
    Failure(
        "run, a data folder that is a file", ("run", "--data-dir", "file"),
        "myservice could not start: cannot use the data folder file: File exists.\n"
        "  Another data folder can be chosen with --data-dir or APP_DATA_DIR.\n",
        records=0,
    ),
]  # fmt: skip


@pytest.mark.integration
@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.id)
def test_a_start_that_fails_says_why_in_sentences(
    case: Failure, postgres: PostgresEngine, nats: NatsEngine, migrated: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    dsn = postgres.dsn()
    names = {
        "host": dsn.partition("host=")[2].replace("&port=", ":"),
        "user": dsn.replace("postgres@", "nobody@"),
        "database": postgres.dsn("nothere"),
        "migrated": migrated,
        "queue": urlsplit(nats.url).netloc.rpartition("@")[2],
    }
    env = {name: value.format(**names) for name, value in case.env.items()}
    done = subprocess.run(
        [MYSERVICE, *case.words],
        env=environment(**{"APP_JWT_SECRET": TEST_SECRET, "APP_NATS_URL": nats.url, **env}),
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == case.waits + case.says.format(**names)
    assert done.stdout.count('"msg":"could not start"') == case.records
    assert "hunter2" not in done.stdout + done.stderr
