"""The running paceline as a wheel, for a project to carry until paceline is on an index.

An installed distribution is packed from the files in its RECORD, with fixed times, so the same
distribution gives the same wheel. One that is installed in editable form is built from its source.
"""

import base64
import hashlib
import json
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from paceline.scaffold.errors import ScaffoldError
from paceline.scaffold.tools import run

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_OF_THE_INSTALLER: Final = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json"}


def pack_running_wheel(folder: Path) -> Path:
    """Write the wheel into ``folder``. Errors: ScaffoldError when it cannot be made."""
    folder.mkdir(parents=True, exist_ok=True)
    installed = distribution("paceline")
    source = _editable_source(installed)
    return _built(source, folder) if source else pack_wheel(installed, folder)


def _editable_source(installed: Distribution) -> Path | None:
    text = installed.read_text("direct_url.json")
    if not text:
        return None
    url: dict[str, Any] = json.loads(text)
    if not url.get("dir_info", {}).get("editable"):
        return None
    return Path(url2pathname(urlsplit(str(url["url"])).path))


def _built(source: Path, folder: Path) -> Path:
    before = {*folder.iterdir()}
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder.resolve())]
    run(build, source, "building paceline's wheel")
    made = [path for path in folder.glob("paceline-*.whl") if path not in before]
    return made[0] if made else next(folder.glob("paceline-*.whl"))


def pack_wheel(installed: Distribution, folder: Path) -> Path:
    """Write the wheel of an installed distribution into ``folder``, by its list of files.

    Errors: ScaffoldError when it has no such list.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root = Path(str(installed.locate_file("")))
    info = f"paceline-{installed.version}.dist-info"
    paths = [
        file.as_posix()
        for file in installed.files or ()
        if file.parts[0] in {"paceline", info}
        and "__pycache__" not in file.parts
        and not (file.parts[0] == info and file.name in _OF_THE_INSTALLER)
    ]
    if not paths:
        raise ScaffoldError("this paceline has no list of its files: install it anew")
    target = folder / f"paceline-{installed.version}-py3-none-any.whl"
    rows: list[str] = []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(paths):
            content = (root / path).read_bytes()
            _write(archive, path, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            rows.append(f"{_quoted(path)},sha256={digest.decode()},{len(content)}")
        record = f"{info}/RECORD"
        _write(archive, record, "\n".join([*rows, f"{record},,", ""]).encode())
    return target


def _quoted(path: str) -> str:
    return f'"{path}"' if "," in path else path


def _write(archive: zipfile.ZipFile, path: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(path, _EPOCH)
    entry.external_attr = (0o100755 if content.startswith(b"#!") else 0o100644) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)
