"""Fetches grpc-java's interop client with Maven once, and prints the folder of its jars.

Pinned like the Go tools: it judges compression, which Go's client does not know, with two
implementations of HTTP/2, Netty's and OkHttp's. What is missing is said on stderr, with exit code
1. Needs Java and Maven, and the network for the first time only.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "1.76.0"
_FOLDER = Path(__file__).resolve().parents[3] / "bench" / ".cache" / f"grpc-java-{VERSION}"
_TIMEOUT = 300.0
_POM = """<project><modelVersion>4.0.0</modelVersion>
<groupId>paceline</groupId><artifactId>grpc-java-for-tests</artifactId><version>1</version>
<packaging>pom</packaging><dependencies><dependency><groupId>io.grpc</groupId>
<artifactId>grpc-interop-testing</artifactId><version>{version}</version>
</dependency></dependencies></project>"""


def main() -> int:
    """Print the folder, filling it if need be."""
    if not _FOLDER.is_dir():
        problem = _fetch()
        if problem:
            sys.stderr.write(f"no grpc-java: {problem}\n")
            return 1
    sys.stdout.write(f"{_FOLDER}\n")
    return 0


def _fetch() -> str:
    maven = shutil.which("mvn")
    if maven is None or shutil.which("java") is None:
        return "Java and Maven are not installed"
    _FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_FOLDER.parent) as made:
        pom, jars = Path(made, "pom.xml"), Path(made, "jars")
        pom.write_text(_POM.format(version=VERSION))
        command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
        try:
            done = subprocess.run(
                [*command, "-DincludeScope=runtime", f"-DoutputDirectory={jars}"],
                capture_output=True, text=True, check=False, timeout=_TIMEOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"Maven took longer than {_TIMEOUT:g}s"
        if done.returncode:
            return next(iter(done.stdout.splitlines()), "Maven failed")
        try:
            jars.rename(_FOLDER)
        except OSError:  # another process was faster
            shutil.rmtree(jars)
    return ""


if __name__ == "__main__":
    sys.exit(main())
