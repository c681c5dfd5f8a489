"""Vendor the viewer of ``/docs``: ``python tools/swagger_ui.py 5.35.0`` fetches that version anew.

The files are swagger-ui-dist's as npm delivers them, which checks them against the registry's hash.
They are stored compressed, because so they are sent; ``manifest.json`` has the SHA-256 of their
contents, which a test compares. Without a version, what is there is compared with a fresh copy of
its own version, and the exit code is 1 when they differ.
"""

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "kit/src/paceline/http/docs_page/swagger-ui"
PACKAGE = "swagger-ui-dist"
SERVED = ("swagger-ui-bundle.js", "swagger-ui.css")
NOTICES = ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt")


def fetch(version: str) -> tuple[str, dict[str, bytes]]:
    """The package's hash, and its files that we use. Errors: CalledProcessError from npm."""
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(  # noqa: S603 - a tool for developers
            ["npm", "pack", "--json", f"{PACKAGE}@{version}"],  # noqa: S607 - the developer's npm
            cwd=folder,
            capture_output=True,
            check=True,
        )
        (found,) = json.loads(packed.stdout)
        with tarfile.open(Path(folder) / found["filename"]) as archive:
            files = {name: read(archive, f"package/{name}") for name in (*SERVED, *NOTICES)}
    return found["integrity"], files


def read(archive: tarfile.TarFile, name: str) -> bytes:
    """A file of the archive. Errors: KeyError when it is not there."""
    member = archive.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member.read()


def manifest_of(version: str, integrity: str, files: dict[str, bytes]) -> dict[str, Any]:
    """What is vendored, with the hash of each file."""
    return {
        "package": PACKAGE,
        "version": version,
        "license": "Apache-2.0",
        "integrity": integrity,
        "sha256": {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)},
    }


def write(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    """Replace the folder's files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if name in SERVED:
            (FOLDER / f"{name}.gz").write_bytes(gzip.compress(content, 9, mtime=0))
        else:
            (FOLDER / name).write_bytes(content)
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def vendored(manifest: dict[str, Any]) -> dict[str, bytes]:
    """The files that are there, as they were before they were compressed."""
    return {
        name: gzip.decompress((FOLDER / f"{name}.gz").read_bytes())
        if name in SERVED
        else (FOLDER / name).read_bytes()
        for name in manifest["sha256"]
    }


def main() -> int:
    """Vendor a version, or check the one that is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("version", nargs="?", help="to vendor; without, check what is there")
    wanted: str | None = parser.parse_args().version
    if wanted is not None:
        integrity, files = fetch(wanted)
        write(manifest_of(wanted, integrity, files), files)
        sys.stdout.write(f"vendored {PACKAGE} {wanted}\n")
        return 0
    manifest: dict[str, Any] = json.loads((FOLDER / "manifest.json").read_text())
    integrity, files = fetch(manifest["version"])
    fresh = manifest_of(manifest["version"], integrity, files)
    same = fresh == manifest and vendored(manifest) == files
    sys.stdout.write(f"{PACKAGE} {manifest['version']}: {'the same' if same else 'DIFFERENT'}\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
