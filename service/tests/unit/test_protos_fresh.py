"""What is generated from the protos is what is checked in."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("src/myservice/proto/v1", "tests/support")


def test_the_generated_files_are_fresh(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "tools/protos.py", tmp_path], check=True, capture_output=True
    )
    made, kept = generated(tmp_path), generated(ROOT)
    assert set(made) == set(kept), "run: make protos"
    for name, text in made.items():
        assert text == kept[name], f"{name} is stale: make protos"


def generated(root: Path) -> dict[str, str]:
    """The text of each generated file, by its path."""
    return {
        f"{folder}/{path.name}": path.read_text()
        for folder in FOLDERS
        for path in (root / folder).glob("*_pb2*.py*")
    }
