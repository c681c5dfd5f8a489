"""Which files are migrations, and what makes a folder of them wrong."""

import importlib.resources
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.postgres.migrate import Direction, SourceError, UnknownVersion, read_source

UP, DOWN = Direction.UP, Direction.DOWN


def fill(folder: Path, *names: str, text: str = "SELECT 1") -> Path:
    for name in names:
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@dataclass(frozen=True)
class FileName:
    id: str
    name: str
    expect: tuple[int, str, Direction] | None


FILE_NAMES = [
    FileName("a pair's first half", "000001_a.up.sql", (1, "a", UP)),
    FileName("a pair's other half", "000001_a.down.sql", (1, "a", DOWN)),
    FileName("a time as version", "20260102030405_b.up.sql", (20260102030405, "b", UP)),
    FileName("no leading zeros", "7_c.up.sql", (7, "c", UP)),
    FileName("version zero", "0_c.up.sql", (0, "c", UP)),
    FileName("an empty name", "1_.up.sql", (1, "", UP)),
    FileName("a name with spaces", "1_two words.up.sql", (1, "two words", UP)),
    FileName("any ending", "1_a.up.psql", (1, "a", UP)),
    FileName("the last direction counts", "1_a.up.down.sql", (1, "a.up", DOWN)),
    FileName("no direction", "1_a.sql", None),
    FileName("no ending", "1_a.up", None),
    FileName("no version", "a.up.sql", None),
    FileName("letters before the version", "V1_a.up.sql", None),
    FileName("digits that are not ASCII", "\N{ARABIC-INDIC DIGIT ONE}_a.up.sql", None),
    FileName("a line end after it", "1_a.up.s\nql", None),
    FileName("another file", "README.md", None),
]


@pytest.mark.parametrize("case", FILE_NAMES, ids=lambda case: case.id)
def test_a_file_is_a_migration_by_golang_migrates_expression(
    tmp_path: Path, case: FileName
) -> None:
    source = read_source(fill(tmp_path, case.name))
    if case.expect is None:
        assert source.versions == ()
        return
    version, name, direction = case.expect
    assert source.versions == (version,)
    assert source.get(version, direction).name == name


def test_versions_are_in_numeric_order(tmp_path: Path) -> None:
    fill(tmp_path, "10_c.up.sql", "9_b.up.sql", "0001_a.up.sql", "9_b.down.sql")
    assert read_source(tmp_path).versions == (1, 9, 10)


@pytest.mark.parametrize("twin", ["000001_b.up.sql", "1_a.up.sql", "000001_a.up.sql.orig"])
def test_two_files_for_one_version_and_direction_are_refused(tmp_path: Path, twin: str) -> None:
    fill(tmp_path, "000001_a.up.sql", twin)
    with pytest.raises(SourceError, match="duplicate migration version 000001") as caught:
        read_source(tmp_path)
    assert "000001_a.up.sql" in str(caught.value)
    assert twin in str(caught.value)


def test_halves_of_a_pair_may_have_different_names(tmp_path: Path) -> None:
    source = read_source(fill(tmp_path, "1_a.up.sql", "1_undo_a.down.sql"))
    assert source.get(1, DOWN).name == "undo_a"


def test_a_folder_with_the_name_of_a_migration_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").mkdir()
    assert read_source(tmp_path).versions == ()


def test_a_link_to_a_file_is_a_migration(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    fill(tmp_path / "data", "1_a.up.sql")
    (tmp_path / "1_a.up.sql").symlink_to(tmp_path / "data" / "1_a.up.sql")
    assert read_source(tmp_path).get(1, UP).read() == "SELECT 1"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no folder of migrations at .*nowhere"):
        read_source(tmp_path / "nowhere")


def test_a_version_that_does_not_fit_its_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="larger than a bigint"):
        read_source(fill(tmp_path, f"{2**63}_a.up.sql"))


def test_a_folder_inside_an_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        archive.writestr("migrations/000001_a.up.sql", "SELECT 1")
    source = read_source(zipfile.Path(tmp_path / "package.zip", "migrations/"))
    assert source.get(1, UP).read() == "SELECT 1"


def test_a_folder_of_a_package_is_read() -> None:
    assert read_source(importlib.resources.files("paceline.postgres.migrate")).versions == ()


def test_a_missing_half_is_named_as_the_file_to_write(tmp_path: Path) -> None:
    source = read_source(fill(tmp_path, "000003_add_colour.up.sql"))
    assert source.find(3, DOWN) is None
    with pytest.raises(SourceError, match=r"no down file: it needs 000003_add_colour\.down\.sql"):
        source.get(3, DOWN)


def test_an_unknown_version_is_reported_with_the_newest(tmp_path: Path) -> None:
    source = read_source(fill(tmp_path, "1_a.up.sql", "2_b.up.sql"))
    source.require(2)
    with pytest.raises(UnknownVersion, match=r"version 000007 .*the newest is 000002"):
        source.require(7)


@dataclass(frozen=True)
class Unreadable:
    id: str
    content: bytes
    reason: str


UNREADABLE = [
    Unreadable("not UTF-8", b"SELECT '\xff'", r"1_a\.up\.sql is not UTF-8 text \(byte 8\)"),
    Unreadable("byte order mark", b"\xef\xbb\xbfSELECT 1", "byte order mark"),
    Unreadable("NUL", b"SELECT 1;\0", "NUL"),
    Unreadable(
        "pg_dump's restrict", b"--\n\n\\restrict aB3\n\nSET a = 1;\n", r"line 3: \\restrict is a"
    ),
    Unreadable("psql's connect", b"SELECT 1;\n\\connect app\n", r"line 2: \\connect is a command"),
    Unreadable("COPY from stdin", b"SELECT 1;\nCOPY t (a)\n FROM stdin;\n1\n", "line 2: COPY"),
]


@pytest.mark.parametrize("case", UNREADABLE, ids=lambda case: case.id)
def test_text_that_could_never_run_is_refused_when_read(tmp_path: Path, case: Unreadable) -> None:
    (tmp_path / "1_a.up.sql").write_bytes(case.content)
    file = read_source(tmp_path).get(1, UP)
    with pytest.raises(SourceError, match=case.reason):
        file.read()


def test_copy_from_stdin_in_a_comment_is_only_a_comment(tmp_path: Path) -> None:
    fill(tmp_path, "1_a.up.sql", text="-- COPY t FROM STDIN\nSELECT 1")
    assert read_source(tmp_path).get(1, UP).read().endswith("SELECT 1")


def test_a_backslash_in_a_text_is_only_a_text(tmp_path: Path) -> None:
    fill(tmp_path, "1_a.up.sql", text="SELECT '\n\\restrict'")
    assert read_source(tmp_path).get(1, UP).read().endswith("restrict'")


def test_line_ends_are_kept(tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_bytes(b"SELECT 1;\r\nSELECT 2\n")
    assert read_source(tmp_path).get(1, UP).read() == "SELECT 1;\r\nSELECT 2\n"
