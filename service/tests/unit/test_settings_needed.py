"""Settings that ``serve`` requires because of others."""

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
def test_a_setting_that_uses_redis_requires_its_url(name: str) -> None:
    load_for_serve(ENOUGH)
    load_for_serve({**ENOUGH, name: "false"})
    with pytest.raises(ConfigError, match="APP_REDIS_URL"):
        load_for_serve({**ENOUGH, name: "true"})
    load_for_serve({**ENOUGH, name: "true", "APP_REDIS_URL": "redis://localhost:6379/0"})
