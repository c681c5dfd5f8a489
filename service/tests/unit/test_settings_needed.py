"""Settings that ``serve`` requires because of others."""

from collections.abc import Mapping
from functools import partial
from typing import Literal, TypeAlias

import pytest

from myservice.config import Config
from paceline.config import ConfigError, load
from paceline.testing import TEST_SECRET

ENOUGH = {
    "APP_DATABASE_URL": "postgresql://localhost/x",
    "APP_JWT_SECRET": TEST_SECRET,
}


KEYS = {**ENOUGH, "APP_JWKS_URL": "https://issuer.example/keys"}
ISSUER = {"APP_JWT_ISSUER": "https://issuer.example"}
AUDIENCE = {"APP_JWT_AUDIENCE": "myservice"}
ANY_ISSUER = {"APP_JWT_ANY_ISSUER": "true"}
ANY_AUDIENCE = {"APP_JWT_ANY_AUDIENCE": "true"}


Command: TypeAlias = Literal["serve", "run", "worker"]


def load_for(command: Command, variables: Mapping[str, str]) -> None:
    load(
        Config,
        env=variables,
        needed=partial(Config.needed_by, command),
        find_problems=partial(Config.problems_for, command),
    )


load_for_serve = partial(load_for, "serve")


@pytest.mark.parametrize("name", ["APP_CACHE", "APP_RATE_LIMIT_SHARED"])
def test_a_setting_that_uses_redis_requires_its_url(name: str) -> None:
    load_for_serve(ENOUGH)
    load_for_serve({**ENOUGH, name: "false"})
    with pytest.raises(ConfigError, match="APP_REDIS_URL"):
        load_for_serve({**ENOUGH, name: "true"})
    load_for_serve({**ENOUGH, name: "true", "APP_REDIS_URL": "redis://localhost:6379/0"})


@pytest.mark.parametrize("issuer", [ISSUER, ANY_ISSUER], ids=["issuer", "any issuer"])
@pytest.mark.parametrize("audience", [AUDIENCE, ANY_AUDIENCE], ids=["audience", "any audience"])
@pytest.mark.parametrize("command", ["serve", "run"])
def test_a_jwks_requires_issuer_and_audience_or_a_word_that_any_will_do(
    command: Command, issuer: Mapping[str, str], audience: Mapping[str, str]
) -> None:
    load_for(command, {**KEYS, **issuer, **audience})
    for lacking, message in [
        ({**KEYS, **issuer}, "APP_JWKS_URL: tokens of any audience would.*APP_JWT_AUDIENCE, or"),
        ({**KEYS, **audience}, "APP_JWKS_URL: tokens of any issuer would.*APP_JWT_ANY_ISSUER=true"),
        (KEYS, "any issuer and any audience would.*set APP_JWT_ISSUER and APP_JWT_AUDIENCE, or"),
        ({**KEYS, "APP_JWT_ISSUER": "", **audience}, "any issuer"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load_for(command, lacking)


def test_who_verifies_no_tokens_needs_neither_issuer_nor_audience() -> None:
    load_for("worker", {**KEYS, "APP_NATS_URL": "nats://localhost"})
