"""Secrets planted in every URL setting are in no output of any command, whatever goes wrong."""

import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from service_process import MYSERVICE, PATIENCE, environment

from paceline.testing import TEST_SECRET

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PLANTED = "pl4nted"
"""Part of every secret here."""
NOWHERE = "127.0.0.1:1"
TOKEN_SECRET = f"{PLANTED}{TEST_SECRET}"


@dataclass(frozen=True)
class Environment:
    id: str
    variables: Mapping[str, str]


ENVIRONMENTS = [
    Environment(
        "passwords",
        {
            "APP_DATABASE_URL": f"postgresql://app:{PLANTED}@{NOWHERE}/app",
            "APP_NATS_URL": f"nats://a:{PLANTED}@{NOWHERE},nats://{PLANTED}2@{NOWHERE}",
            "APP_REDIS_URL": f"redis://:{PLANTED}@{NOWHERE}/0",
            "APP_JWKS_URL": f"https://{NOWHERE}/jwks.json?v=1&sig={PLANTED}",
            "APP_OTEL_ENDPOINT": f"http://{NOWHERE}/",
        },
    ),
    Environment(
        "tokens and parameters",
        {
            "APP_DATABASE_URL": f"postgresql://{NOWHERE}/app?user=app&password={PLANTED}",
            "APP_NATS_URL": f"nats://{PLANTED}@{NOWHERE}",
            "APP_REDIS_URL": f"redis://{NOWHERE}/0?password={PLANTED}",
            "APP_JWKS_URL": f"http://{NOWHERE}/jwks.json?token={PLANTED}",
            "APP_OTEL_ENDPOINT": f"http://{PLANTED}@{NOWHERE}/",
        },
    ),
    Environment(
        "unescaped characters",
        {
            "APP_DATABASE_URL": f"postgresql://app:{PLANTED}/x@{NOWHERE}/app",
            "APP_NATS_URL": f"nats://{PLANTED}/x@{NOWHERE}",
            "APP_REDIS_URL": f"redis://:{PLANTED}/x@{NOWHERE}/0",
            "APP_JWKS_URL": f"https://app:{PLANTED}@{NOWHERE}/jwks.json",
        },
    ),
    Environment(
        "not what they should be",
        {
            "APP_DATABASE_URL": f"mysql://app:{PLANTED}@{NOWHERE}/app",
            "APP_NATS_URL": f"amqp://{PLANTED}@{NOWHERE}",
            "APP_REDIS_URL": f"{PLANTED}@{NOWHERE}",
            "APP_JWKS_URL": f"ftp://{PLANTED}@{NOWHERE}/jwks.json",
            "APP_OTEL_ENDPOINT": f"http://app:{PLANTED}@{NOWHERE}",
            "APP_PORT": f"tcp://{PLANTED}@{NOWHERE}",
        },
    ),
]
COMMANDS = [
    "config", "config --json", "doctor --timeout 0.5", "doctor --for worker --timeout 0.5 --json",
    "run --data-dir data", "serve", "worker", "migrate up", "migrate version", "seed", "dead list",
    "ledger verify", "records export", "token --sub ada --scope records:read", "psql -c select",
    "top --once",
]  # fmt: skip


@pytest.mark.parametrize("planted", ENVIRONMENTS, ids=lambda case: case.id)
def test_no_command_shows_a_secret_of_its_settings(planted: Environment, tmp_path: Path) -> None:
    variables = {
        "APP_JWT_SECRET": TOKEN_SECRET,
        "APP_JWT_AUDIENCE": "myservice",
        "APP_JWT_ISSUER": "https://issuer.example",
        "APP_ADMIN_TOKEN": f"{PLANTED}9hR4tYw2Kd83Vx6Lq1Zp7Bn5sd",
        "APP_CACHE": "true",
        "APP_LOG_LEVEL": "debug",
        "APP_PORT": "0",
        **planted.variables,
    }
    with ThreadPoolExecutor(4) as threads:  # most of them wait for a server
        started = [threads.submit(output, each, variables, tmp_path) for each in COMMANDS]
        shown = [each.result() for each in started]
    leaks = [
        f"{command}: {line}"
        for command, text in zip(COMMANDS, shown, strict=True)
        for line in text.splitlines()
        if PLANTED in line
    ]
    assert not leaks
    assert NOWHERE in "".join(shown)  # the settings were looked at


def output(command: str, variables: Mapping[str, str], folder: Path) -> str:
    """What it writes until it ends; ended by force after what a start may wait."""
    process = subprocess.Popen(
        [MYSERVICE, *command.split()],
        env=environment(**variables),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        return process.communicate(timeout=PATIENCE)[0]
    finally:
        process.kill()
        process.wait()
