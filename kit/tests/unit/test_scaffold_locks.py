"""Locks without what nothing asks for any more."""

from paceline.scaffold.locks import direct_names, prune_lock

LOCK = """\
base==1.0 \\
    --hash=sha256:aa
    # via
    #   paceline
    #   wire
cache-client==2.0 ; python_version < '3.12' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via paceline
deep==3.0 \\
    --hash=sha256:dd
    # via wire
own==4.0 \\
    --hash=sha256:ee
    # via shop (pyproject.toml)
wire==5.0 \\
    --hash=sha256:ff
    # via paceline
"""


def test_what_is_asked_for_and_what_that_needs_stays() -> None:
    assert prune_lock(LOCK, {"base", "cache-client", "own", "wire"}) == LOCK


def test_what_only_something_gone_needed_goes_with_it_and_is_not_mentioned() -> None:
    pruned = prune_lock(LOCK, {"base", "own"})
    assert [line for line in pruned.splitlines() if "==" in line] == ["base==1.0 \\", "own==4.0 \\"]
    assert "wire" not in pruned
    assert "    #   paceline\n" in pruned


def test_the_extras_of_paceline_bring_what_they_require() -> None:
    base = direct_names(["paceline>=0.1", "typer"])
    assert {"msgspec", "typer", "uvloop"} <= base
    assert not {"grpcio", "redis", "asyncpg"} & base
    assert {"redis", "hiredis"} <= direct_names(["paceline", "paceline[redis]"])
    assert {"pytest", "asyncpg", "joserfc"} <= direct_names(["paceline[testing]"])
