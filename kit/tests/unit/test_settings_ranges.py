"""Settings objects refuse numbers that cannot work, by the setting's name."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace

import pytest

from paceline.grpc import RpcLimits
from paceline.http import ServerLimits
from paceline.messaging import ConsumerSettings, DeliveryPolicy
from paceline.messaging.kafka import KafkaBusSettings
from paceline.messaging.nats import NatsBusSettings
from paceline.postgres import PoolSettings
from paceline.redis import CacheSettings


@dataclass(frozen=True)
class Case:
    make: Callable[[], object]
    setting: str
    value: float


def numbers_of(made: object) -> list[str]:
    assert is_dataclass(made)
    numeric = ("int", "float", "int | None", "float | None", int, float, int | None, float | None)
    return [each.name for each in fields(made) if each.type in numeric]


MAKERS: list[Callable[[], object]] = [
    ServerLimits, RpcLimits, PoolSettings, ConsumerSettings, DeliveryPolicy, NatsBusSettings,
    KafkaBusSettings, lambda: CacheSettings(ttl=1.0),
]  # fmt: skip
CASES = [
    Case(make, setting, value)
    for make in MAKERS
    for setting in numbers_of(make())
    for value in (-1, math.nan)
]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{type(case.make()).__name__}.{case.setting}={case.value}"
)
def test_a_number_that_cannot_work_is_refused(case: Case) -> None:
    with pytest.raises(ValueError, match=case.setting):
        replace(case.make(), **{case.setting: case.value})  # type: ignore[type-var]


def test_no_age_is_none() -> None:
    assert ServerLimits(max_connection_age=None).max_connection_age is None
