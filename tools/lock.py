"""Lock every dependency by version and hash: requirements/*.in to requirements/*.txt.

No registry's address goes into a lock. bench.txt is made first and constrains the others, so all
hold the same version of what they share.
"""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
OPTIONS = [
    "--universal", "--python-version=3.11", "--generate-hashes",
    "--no-header", "--no-emit-index-url", "--quiet", "--upgrade",
]  # fmt: skip


def main() -> None:
    """Write the locks."""
    for name in ["bench", "dev", "run"]:
        constraint = [] if name == "bench" else ["--constraint=requirements/bench.txt"]
        source, lock = f"requirements/{name}.in", f"--output-file=requirements/{name}.txt"
        command = [ROOT / ".venv/bin/uv", "pip", "compile", *OPTIONS, *constraint, lock, source]
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - our own tool, our own files


if __name__ == "__main__":
    main()
