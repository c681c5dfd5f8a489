"""Generate the Python of api/proto into the package myservice.proto, with stubs.

``make protos``, or with a folder as argument, as the test does that compares. The files are given
to protoc under a virtual path, so the imports in what it writes are right as they are, and without
the marks of paceline, which it would take for documentation.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "api/proto/myservice/v1"
VIRTUAL = "myservice/proto/v1"
KINDS = ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out")


def main() -> None:
    """Write the generated files below the folder that is given, or into the package."""
    out = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "src")
    bin_folder = Path(sys.executable).parent
    plugins = [
        f"--plugin=protoc-gen-{name}={bin_folder / f'protoc-gen-{name}'}"
        for name in ("mypy", "mypy_grpc")
    ]
    with tempfile.TemporaryDirectory() as unmarked:
        for path in PROTOS.glob("*.proto"):
            lines = path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if "// paceline: " not in line]
            (Path(unmarked) / path.name).write_text("".join(kept))
        names = [f"{VIRTUAL}/{path.name}" for path in sorted(PROTOS.glob("*.proto"))]
        subprocess.run(  # noqa: S603 - our own tool, our own files
            [
                sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={VIRTUAL}={unmarked}",
                *plugins, *(f"--{kind}={out}" for kind in KINDS), *names,
            ],
            check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
