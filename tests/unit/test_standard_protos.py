"""What is generated from the protos of gRPC's own services is what is checked in."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "kit/src/paceline/grpc/protos"


def test_the_generated_files_are_fresh(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "tools/standard_protos.py", tmp_path],
        check=True, capture_output=True,
    )  # fmt: skip
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(made) == {path.name for path in KEPT.glob("*_pb2.*")}, "run: make protos"
    for name, text in made.items():
        assert text == (KEPT / name).read_text(), f"{name} is stale: make protos"
