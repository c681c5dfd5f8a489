"""A copy of PostgreSQL's programs that a test may change."""

from pathlib import Path

import pytest

from paceline.engines.account import server_account
from paceline.engines.programs import Programs, copy_programs, get_programs


def own_programs(folder: Path) -> Programs:
    """A copy in ``folder``, which the server's account can reach. The test is skipped without."""
    found, account = get_programs(), server_account(folder)
    if account is None or found.site is None:
        pytest.skip("needs root and the wheel's PostgreSQL, to run a copy of it")
    return copy_programs(found, account, folder)
