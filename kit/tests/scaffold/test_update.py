"""`paceline update`, with a small template and a newer one that were made up for it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from paceline.scaffold import (
    Choices,
    Project,
    ResourceName,
    ScaffoldError,
    ServiceName,
    Template,
    find_project,
)
from paceline.scaffold.new import finish_files
from paceline.scaffold.project import write_file
from paceline.scaffold.rendering import render
from paceline.scaffold.update import Merge, update_project

PYPROJECT = """\
[project]
name = "basics"
dependencies = [
  "paceline",
  "paceline[nats]",  # paceline: only nats
]

[tool.paceline]
name = "basics"
version = "0"
full = true
without = []
resource = "record"

# paceline: only full {
[tool.paceline.template.only]
full = ["src/*/extra.py"]
nats = ["worker.yaml"]

[tool.paceline.template.renamed]
# paceline: }
"""
MAIN = '''"""How basics is wired."""

ONE = 1
TWO = 2
THREE = 3


def build() -> None:
    """Build records."""
    print(ONE)
    # paceline: resources
    print(TWO)
    print(THREE)
'''
MIGRATIONS = "src/basics/migrations"
FILES: Mapping[str, str] = {
    "pyproject.toml": PYPROJECT,
    "Makefile": "run:\n\tpython -m basics\n\ntest:\n\tpytest\n",
    "old.txt": "used by basics\n",
    "kept.txt": "kept by basics\n",
    "worker.yaml": "name: basics\n",
    "src/basics/main.py": MAIN,
    "src/basics/extra.py": '"""Only in the full one."""\n',
    f"{MIGRATIONS}/000001_create_records.up.sql": "CREATE TABLE records ();\n",
    f"{MIGRATIONS}/000001_create_records.down.sql": "DROP TABLE records;\n",
}


def template(files: Mapping[str, str], version: str) -> Template:
    return Template({path: text.encode() for path, text in files.items()}, version)


OLD = template(FILES, "1.0")
CHOICES = Choices(ServiceName("shop"), ResourceName.parse("invoice"), without=("nats",))


def git(root: Path, *words: str) -> str:
    who = ("-c", "user.name=ada", "-c", "user.email=ada@example.com")
    return subprocess.run(
        ["git", *who, *words], cwd=root, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """As `paceline new` makes it of the old template, committed."""
    root = tmp_path / "shop"
    rendered = render(OLD, CHOICES)
    for path, content in rendered.files.items():
        write_file(root, path, content)
    finish_files(root, rendered, CHOICES)
    git(root.parent, "init", "--quiet", "shop")
    commit(root)
    return find_project(root)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "x")


def edit(project: Project, path: str, before: str, after: str) -> None:
    file = project.root / path
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    commit(project.root)


def update(project: Project, **changed: str | None) -> Merge:
    """To a template in which these files are otherwise, or gone; ``/`` is written ``__``."""
    files = {**FILES}
    for name, text in changed.items():
        path = name.replace("__", "/").replace("_dot_", ".")
        files.pop(path, None)
        if text is not None:
            files[path] = text
    return update_project(project, OLD, template(files, "1.1"))


def test_the_same_template_changes_nothing(project: Project) -> None:
    merge = update_project(project, OLD, OLD)
    assert (merge.changed, merge.conflicts, merge.kept) == ([], [], [])
    assert git(project.root, "status", "--porcelain") == ""


def test_what_is_as_it_was_made_is_brought_up_to_date(project: Project) -> None:
    merge = update(
        project, Makefile=FILES["Makefile"] + "\nlint:\n\truff check\n", old_dot_txt=None
    )
    assert "lint" in (project.root / "Makefile").read_text()
    assert not (project.root / "old.txt").exists()
    assert sorted(merge.changed) == ["Makefile", "old.txt", "pyproject.toml"]
    assert find_project(project.root).version == "1.1"


def test_changes_on_both_sides_are_merged_in_the_projects_names(project: Project) -> None:
    edit(project, "src/shop/main.py", "ONE = 1", "ONE = 10")
    merge = update(
        project,
        src__basics__main_dot_py=MAIN.replace("THREE = 3", "THREE = len('records of basics')"),
    )
    text = (project.root / "src/shop/main.py").read_text()
    assert "ONE = 10" in text
    assert 'THREE = len("invoices of shop")' in text
    assert merge.conflicts == []


def test_a_conflict_is_marked_as_git_does_and_loses_nothing(project: Project) -> None:
    edit(project, "src/shop/main.py", "TWO = 2", "TWO = 22")
    merge = update(project, src__basics__main_dot_py=MAIN.replace("TWO = 2", "TWO = 222"))
    text = (project.root / "src/shop/main.py").read_text()
    assert "<<<<<<< yours\n" in text
    assert "||||||| paceline 1.0\n" in text
    assert ">>>>>>> paceline 1.1\n" in text
    assert all(line in text for line in ("TWO = 2\n", "TWO = 22\n", "TWO = 222\n"))
    assert merge.conflicts == ["src/shop/main.py"]


def test_new_files_come_and_files_of_what_was_left_out_do_not(project: Project) -> None:
    update(
        project,
        new_dot_txt="new in basics\n",
        worker_dot_yaml="name: basics, again\n",
        src__basics__extra_dot_py='"""Another."""\n',
    )
    assert (project.root / "new.txt").read_text() == "new in shop\n"
    assert not (project.root / "worker.yaml").exists()
    assert not (project.root / "src/shop/extra.py").exists()


def test_what_is_gone_on_one_side_and_changed_on_the_other_is_left_alone(project: Project) -> None:
    edit(project, "old.txt", "used", "much used")
    (project.root / "kept.txt").unlink()
    commit(project.root)
    merge = update(project, old_dot_txt=None, kept_dot_txt="otherwise\n")
    assert (project.root / "old.txt").read_text() == "much used by shop\n"
    assert not (project.root / "kept.txt").exists()
    assert [line.partition(":")[0] for line in merge.kept] == ["kept.txt", "old.txt"]


def test_a_new_migration_comes_after_the_projects_own_and_old_ones_stay(project: Project) -> None:
    own = project.root / "src/shop/migrations/000002_add_colour.up.sql"
    own.write_text("ALTER TABLE invoices ADD colour text;\n")
    commit(project.root)
    update(
        project,
        **{
            f"{MIGRATIONS}/000001_create_records.up.sql": "CREATE TABLE records (id int);\n",
            f"{MIGRATIONS}/000002_create_locks.up.sql": "CREATE TABLE locks ();\n",
            f"{MIGRATIONS}/000002_create_locks.down.sql": "DROP TABLE locks;\n",
        },
    )
    found = {path.name: path.read_text() for path in own.parent.glob("*.up.sql")}
    assert found == {
        "000001_create_invoices.up.sql": "CREATE TABLE invoices ();\n",
        "000002_add_colour.up.sql": "ALTER TABLE invoices ADD colour text;\n",
        "000003_create_locks.up.sql": "CREATE TABLE locks ();\n",
    }


def test_a_tree_that_is_not_clean_is_refused(project: Project) -> None:
    (project.root / "note.txt").write_text("mine")
    with pytest.raises(ScaffoldError, match=r"note\.txt"):
        update(project, Makefile="run:\n")
    assert (project.root / "Makefile").read_text() == FILES["Makefile"].replace("basics", "shop")


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScaffoldError, match="paceline new"):
        find_project(tmp_path)
