"""New pairs of files: numbers and names, and nothing is overwritten."""

from pathlib import Path

import pytest

from paceline.errors import ValidationError
from paceline.postgres.migrate import create_migration, read_source


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_first_pair_is_number_one_and_makes_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "migrations"
    up, down = create_migration(folder, "create_records")
    assert (up.name, down.name) == (
        "000001_create_records.up.sql",
        "000001_create_records.down.sql",
    )
    assert names(folder) == [down.name, up.name]
    assert read_source(folder).versions == (1,)


def test_the_next_number_is_one_more_than_the_highest(tmp_path: Path) -> None:
    for name in ("000002_a.up.sql", "000010_b.down.sql", "notes.txt"):
        (tmp_path / name).touch()
    up, _ = create_migration(tmp_path, "c")
    assert up.name == "000011_c.up.sql"


ODD = ["", "Add", "1st", "a b", "a-b", "../a", "a/b", "a.up", "é", "_a", "a" * 81, "a\n"]


@pytest.mark.parametrize("name", ODD)
def test_an_invalid_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValidationError, match="does not do for a migration"):
        create_migration(tmp_path, name)
    assert names(tmp_path) == []


def test_numbers_with_more_than_six_digits_have_no_next(tmp_path: Path) -> None:
    (tmp_path / "20260102030405_a.up.sql").touch()
    with pytest.raises(ValidationError, match="more than 6 digits"):
        create_migration(tmp_path, "b")
