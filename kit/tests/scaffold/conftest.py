"""What the tests of made projects share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The type checker's cache: most of what it looks at is the same in all projects."""
    return tmp_path_factory.mktemp("types")
