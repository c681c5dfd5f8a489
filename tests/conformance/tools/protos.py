"""Generates the messages of the services that judges call into the package ``judge_protos``.

``protos.py [FOLDER]``: gRPC's interop service out of grpc-java's jar, Connect's conformance service
out of its Go module, both as pinned for the judges themselves, so that servers and judges agree.
The generated files are checked in, because type checkers read them; by hand, after a new pin. The
files get a folder of their own, since a package ``grpc`` would hide grpcio's.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

HERE = Path(__file__).resolve().parent
GO_TOOL = HERE.parents[2] / "kit/tests/tools/go_tool.py"
PACKAGE = "judge_protos"
INTEROP = ("empty", "messages", "test")
CONNECT = ("config", "server_compat", "service")


def main() -> None:
    """Write the package below the folder that is given, or beside the judges."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent
    (out / PACKAGE).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name, text in _interop_protos():
            _write(folder / "grpc/testing" / name, text)
        for path in _module_folder().glob("proto/connectrpc/conformance/v1/*.proto"):
            _write(folder / "connectrpc/conformance/v1" / path.name, path.read_text())
        names = [f"grpc/testing/{name}.proto" for name in INTEROP]
        names += [f"connectrpc/conformance/v1/{name}.proto" for name in CONNECT]
        _generate(folder, names, out)


def _interop_protos() -> Iterator[tuple[str, str]]:
    printed = subprocess.run(
        [sys.executable, HERE / "fetch_java_client.py"],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    jar = next(Path(printed.strip()).glob("grpc-interop-testing-*.jar"))
    with zipfile.ZipFile(jar) as opened:
        for name in INTEROP:
            yield f"{name}.proto", opened.read(f"grpc/testing/{name}.proto").decode()


def _module_folder() -> Path:
    judge = subprocess.run(
        [sys.executable, GO_TOOL, "connectconformance"],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    version = Path(judge).parent.name.rpartition("-")[2]  # the tool's pin
    go = shutil.which("go") or "/usr/local/go/bin/go"
    module = f"connectrpc.com/conformance@{version}"
    found = subprocess.run(
        [go, "mod", "download", "-json", module], capture_output=True, check=True
    ).stdout
    return Path(json.loads(found)["Dir"])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _generate(folder: Path, names: Sequence[str], out: Path) -> None:
    """By way of descriptors: without their comments, and under other names."""
    whole, renamed = folder / "whole", folder / "renamed"
    _protoc(f"--proto_path={folder}", "--include_imports", f"--descriptor_set_out={whole}", *names)
    descriptors = FileDescriptorSet.FromString(whole.read_bytes())
    for file in descriptors.file:
        file.name = _renamed(file.name)
        file.dependency[:] = [_renamed(name) for name in file.dependency]
    renamed.write_bytes(descriptors.SerializeToString())
    plugin = Path(sys.executable).parent / "protoc-gen-mypy"
    _protoc(
        f"--descriptor_set_in={renamed}", f"--plugin=protoc-gen-mypy={plugin}",
        f"--python_out={out}", f"--mypy_out={out}", *map(_renamed, names),
    )  # fmt: skip


def _renamed(name: str) -> str:
    kept = name.startswith("google/")
    return name if kept else f"{PACKAGE}/{name.rpartition('/')[2]}"


def _protoc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)


if __name__ == "__main__":
    main()
