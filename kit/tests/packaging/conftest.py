"""For the tests of packaging: wheels of both distributions, and empty environments for them."""

import os
from pathlib import Path

import pytest
from environments import Environment, build_wheels, index_of_pip


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment"), index_of_pip() | dict(os.environ))
