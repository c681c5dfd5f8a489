"""Lock what this project and paceline need of others, by version and hash, in requirements/*.txt.

``make lock``. paceline itself is not locked: its wheel is in ``wheels/``, and what it depends on is
read from that. No registry's address goes into a lock. dev.txt is made first and constrains the
others, so all hold the same version of what they share. serve.txt is for an image: no engines.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = [
    "--universal", "--python-version=3.11", "--generate-hashes", "--no-emit-package=paceline",
    "--no-header", "--no-emit-index-url", "--quiet",
]  # fmt: skip


def main() -> None:
    """Write the locks. Other options go to uv: ``--upgrade`` for the newest versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", default="wheels", help="the folder that has paceline's wheel")
    ours, others = parser.parse_known_args()
    for name in ("dev", "run", "serve"):
        constraint = [] if name == "dev" else ["--constraint=requirements/dev.txt"]
        command = [
            str(Path(sys.executable).with_name("uv")), "pip", "compile", *OPTIONS,
            f"--find-links={ours.wheels}", *constraint, *others,
            "pyproject.toml", f"requirements/{name}.in", f"--output-file=requirements/{name}.txt",
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - our own tool, our own files
        lock = ROOT / f"requirements/{name}.txt"
        # What constrained a version is no reason for a package to be there.
        lock.write_text(re.sub(r"(?m)^    #   -c .*\n", "", lock.read_text()))


if __name__ == "__main__":
    main()
