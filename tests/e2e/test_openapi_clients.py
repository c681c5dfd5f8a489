"""Clients that others' generators make of the OpenAPI document, in four languages.

Each must take an amount that 32 bits do not hold. Those of Go and Python are run against the real
service, that of TypeScript is type-checked, and that of Java is read for its types. A generator that
is not there skips its test.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest
from external_tools import go_tool, printed
from service_process import ServiceProcess, running_service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

TOOLS = Path(__file__).parents[1] / "tools"
PROGRAMS = TOOLS / "openapi_client"
RUNTIME = "github.com/oapi-codegen/runtime@v1.9.0"
AMOUNT = "3000000000"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    with running_service(tmp_path_factory.mktemp("openapi") / "data") as started:
        yield started


@pytest.fixture
def document(service: ServiceProcess, tmp_path: Path) -> Path:
    """The file with the service's own document."""
    file = tmp_path / "openapi.json"
    run("curl", "-sf", "-o", str(file), f"{service.url}/openapi.json", folder=tmp_path)
    return file


def run(*command: str, folder: Path, env: Mapping[str, str] | None = None) -> str:
    """Its output. Errors: AssertionError with what it says, when it fails."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **(env or {})},
        capture_output=True, text=True, check=False, timeout=540,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def generator(name: str) -> Path:
    return Path(printed(TOOLS / "openapi_generators.py", name))


def test_a_client_in_go_moves_three_billion(
    service: ServiceProcess, document: Path, tmp_path: Path
) -> None:
    codegen = go_tool("oapi-codegen")
    go = shutil.which("go") or "/usr/local/go/bin/go"
    (tmp_path / "api").mkdir()
    run(codegen, "-generate", "models,client", "-package", "api", "-o", "api/api.go", str(document), folder=tmp_path)  # fmt: skip
    shutil.copy(PROGRAMS / "main.go", tmp_path)
    flags = {"GOFLAGS": "-mod=mod"}
    run(go, "mod", "init", "client", folder=tmp_path, env=flags)
    run(go, "get", RUNTIME, folder=tmp_path, env=flags)
    run(go, "build", "-o", "program", ".", folder=tmp_path, env=flags)
    printed_by_it = run("./program", service.url, service.token, folder=tmp_path)
    assert printed_by_it == f"{AMOUNT} NOT_FOUND"


def test_a_client_in_python_moves_three_billion(
    service: ServiceProcess, document: Path, tmp_path: Path
) -> None:
    binaries = generator("python") / "bin"
    run(
        str(binaries / "openapi-python-client"), "generate", "--path", str(document),
        "--output-path", "api", "--meta", "none", "--fail-on-warning",
        folder=tmp_path, env={"PATH": f"{binaries}:{os.environ['PATH']}"},
    )  # fmt: skip
    shutil.copy(PROGRAMS / "client_py.txt", tmp_path / "client.py")
    python = str(binaries / "python")
    assert run(python, "client.py", service.url, service.token, folder=tmp_path) == AMOUNT


def test_the_types_in_typescript_fit_what_a_client_writes(document: Path, tmp_path: Path) -> None:
    binaries = generator("typescript") / "node_modules/.bin"
    run(
        str(binaries / "openapi-typescript"), str(document), "-o", "api.d.ts",
        "--default-non-nullable=false", # what has a default may be left out of a request
        folder=tmp_path,
    )  # fmt: skip
    shutil.copy(PROGRAMS / "client.ts", tmp_path)
    run(str(binaries / "tsc"), "--noEmit", "--strict", "client.ts", folder=tmp_path)


def test_amounts_are_long_and_times_have_an_offset_in_java(document: Path, tmp_path: Path) -> None:
    jar = generator("java") / "openapi-generator-cli-7.25.0.jar"
    run(
        "java", "-jar", str(jar), "generate", "-i", str(document), "-g", "java", "-o", "out",
        "--library", "native", "--global-property", "models,modelDocs=false,modelTests=false",
        folder=tmp_path,
    )  # fmt: skip
    models = {path.stem: path.read_text() for path in tmp_path.rglob("model/*.java")}
    assert re.search(r"private Long amount;", models["TransferDraft"])
    assert re.search(r"private OffsetDateTime createdAt;", models["Transfer"])
    assert re.search(r"private UUID id;", models["Account"])
    integers = {name for name, text in models.items() if "private Integer" in text}
    assert integers <= {"Ready"}, "only what 32 bits hold by its bounds"
