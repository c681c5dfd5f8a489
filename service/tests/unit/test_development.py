"""What ``run`` adds: only what no setting names, and only engines that something uses."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from myservice.cli import SERVICE
from myservice.config import Config
from paceline.commands import Development
from paceline.config import SecretUrl
from paceline.engines import EngineError
from paceline.testing import RecordingLog

GIVEN = {
    "database_url": SecretUrl("postgresql://db/records"),
    "nats_url": SecretUrl("nats://queue:4222"),
    "redis_url": SecretUrl("redis://cache:6379/0"),
}


@dataclass(frozen=True)
class Case:
    id: str
    given: frozenset[str] = field(default_factory=frozenset[str])
    redis: bool = False
    own: tuple[str, ...] = ()


@pytest.mark.parametrize(
    "case",
    [
        Case("nothing given, no Redis used", own=("postgresql", "nats")),
        Case("all used", redis=True, own=("postgresql", "nats", "unix")),
        Case("all given", frozenset(GIVEN), redis=True),
        Case("NATS given", frozenset({"nats_url"}), redis=True, own=("postgresql", "unix")),
        Case("given and not used", frozenset({"redis_url"}), own=("postgresql", "nats")),
    ],
    ids=lambda case: case.id,
)  # fmt: skip
def test_engines_are_added_for_what_is_used_and_not_given(case: Case, tmp_path: Path) -> None:
    config = Config.model_validate(
        {"data_dir": tmp_path, "cache": case.redis, **{name: GIVEN[name] for name in case.given}}
    )
    development = Development(SERVICE, config, RecordingLog(), progress=lambda _: None)
    made = development.config
    urls = {"database_url": made.database_url, "nats_url": made.nats_url, "redis_url": made.redis_url}  # fmt: skip
    for name in case.given:
        assert urls[name] == GIVEN[name]
    own = [url.reveal() for name, url in urls.items() if url and name not in case.given]
    assert tuple(url.partition(":")[0] for url in own) == case.own
    services = [service.name for service in development.services]
    assert services == (["engines", "schema"] if case.own else ["schema"])


def test_addresses_and_secret_are_the_same_at_the_next_run(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path, cache=True)
    first, second = (
        Development(SERVICE, config, RecordingLog(), progress=lambda _: None) for _ in range(2)
    )
    assert first.config == second.config
    assert first.config.jwt_secret is not None


def test_a_data_folder_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="cannot use the data folder"):
        Development(
            SERVICE, Config(data_dir=tmp_path / "file"), RecordingLog(), progress=lambda _: None
        )
