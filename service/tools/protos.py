"""Generate the Python of api/proto: messages into the package, clients for the tests, all typed.

``make protos``, or with a folder as argument, as the test does that compares. The clients are
grpcio's, which the service itself does not import. The files are given to protoc under a virtual
path, so the imports in what it writes are right as they are, and without the marks of paceline,
which it would take for documentation.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "api/proto/myservice/v1"
VIRTUAL = "myservice/proto/v1"
MESSAGES = ("python_out", "mypy_out")
CLIENTS = ("grpc_python_out", "mypy_grpc_out")


def main() -> None:
    """Write the generated files below the folder that is given, or into the project."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    sources, support = root / "src", root / "tests/support"
    bin_folder = Path(sys.executable).parent
    plugins = [
        f"--plugin=protoc-gen-{name}={bin_folder / f'protoc-gen-{name}'}"
        for name in ("mypy", "mypy_grpc")
    ]
    for folder in (sources, support):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as unmarked, tempfile.TemporaryDirectory() as clients:
        for path in PROTOS.glob("*.proto"):
            lines = path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if "// paceline: " not in line]
            (Path(unmarked) / path.name).write_text("".join(kept))
        names = [f"{VIRTUAL}/{path.name}" for path in sorted(PROTOS.glob("*.proto"))]
        subprocess.run(  # noqa: S603 - our own tool, our own files
            [
                sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={VIRTUAL}={unmarked}",
                *plugins, *(f"--{kind}={sources}" for kind in MESSAGES),
                *(f"--{kind}={clients}" for kind in CLIENTS), *names,
            ],
            check=True,
        )  # fmt: skip
        for path in (Path(clients) / VIRTUAL).iterdir():
            shutil.copyfile(path, support / path.name)


if __name__ == "__main__":
    main()
