"""What is generated from the protos is what is checked in."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = Path("myservice/proto/v1")


def test_the_generated_files_are_fresh(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "tools/protos.py", tmp_path], check=True, capture_output=True
    )
    made = {path.name: path.read_text() for path in (tmp_path / PACKAGE).iterdir()}
    kept = {
        path.name: path.read_text()
        for path in (ROOT / "src" / PACKAGE).iterdir()
        if "_pb2" in path.name and path.is_file()
    }
    assert set(made) == set(kept), "run: make protos"
    for name, text in made.items():
        assert text == kept[name], f"{name} is stale: make protos"
