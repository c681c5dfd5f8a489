"""Files that commands write: whole or not at all, and never through a link."""

from pathlib import Path

import pytest

from paceline.commands import whole_file


@pytest.mark.parametrize("linked", ["all.csv", "all.csv.part"])
def test_no_link_is_followed(tmp_path: Path, linked: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / linked).symlink_to(victim)
    with whole_file(tmp_path / "all.csv") as file:
        file.write(b"new")
    assert victim.read_text() == "mine"
    assert (tmp_path / "all.csv").read_bytes() == b"new"
    assert not (tmp_path / "all.csv").is_symlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["all.csv", "victim"]


def test_a_link_that_somebody_makes_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "all.csv.part"

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        del path, missing_ok
        part.symlink_to(tmp_path / "victim")

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(FileExistsError), whole_file(tmp_path / "all.csv"):
        pass
    assert not (tmp_path / "victim").exists()


def test_what_was_interrupted_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert [each.name for each in tmp_path.iterdir()] == ["all.csv"]
    assert path.read_text() == "old"
