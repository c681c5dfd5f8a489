"""What ``serve`` cannot do without, in view of what is asked of it."""

import pytest

from myservice.config import ServeConfig
from paceline.config import ConfigError, load
from paceline.testing import TEST_SECRET

ENOUGH = {
    "APP_DATABASE_URL": "postgresql://localhost/x",
    "APP_JWT_SECRET": TEST_SECRET,
}


@pytest.mark.parametrize("name", ["APP_CACHE", "APP_RATE_LIMIT_SHARED"])
def test_what_lives_in_redis_needs_one(name: str) -> None:
    load(ServeConfig, env=ENOUGH)
    load(ServeConfig, env={**ENOUGH, name: "false"})
    with pytest.raises(ConfigError, match="APP_REDIS_URL"):
        load(ServeConfig, env={**ENOUGH, name: "true"})
    load(ServeConfig, env={**ENOUGH, name: "true", "APP_REDIS_URL": "redis://localhost:6379/0"})
