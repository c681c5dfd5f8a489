"""What ``serve`` cannot do without, in view of what is asked of it."""

from collections.abc import Mapping
from functools import partial

import pytest

from myservice.config import Config
from paceline.config import ConfigError, load
from paceline.testing import TEST_SECRET

ENOUGH = {
    "APP_DATABASE_URL": "postgresql://localhost/x",
    "APP_JWT_SECRET": TEST_SECRET,
}


def load_for_serve(variables: Mapping[str, str]) -> None:
    load(Config, env=variables, needed=partial(Config.needed_by, "serve"))


@pytest.mark.parametrize("name", ["APP_CACHE", "APP_RATE_LIMIT_SHARED"])
def test_what_lives_in_redis_needs_one(name: str) -> None:
    load_for_serve(ENOUGH)
    load_for_serve({**ENOUGH, name: "false"})
    with pytest.raises(ConfigError, match="APP_REDIS_URL"):
        load_for_serve({**ENOUGH, name: "true"})
    load_for_serve({**ENOUGH, name: "true", "APP_REDIS_URL": "redis://localhost:6379/0"})
