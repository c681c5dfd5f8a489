"""Puts the template of `paceline new` into the distribution: the tracked files of ../service.

In a wheel they are below ``paceline/scaffold/template``, in a source distribution at the same place
of the sources, from where a wheel that is built of it takes them. An editable installation has no
copy: it reads the folder itself.
"""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = "paceline/scaffold/template"


class TemplateHook(BuildHookInterface[Any]):
    """Adds the files to what is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds. Errors: OSError without git or the folder."""
        if version == "editable":
            return
        root = Path(self.root)
        prefix = "src/" if self.target_name == "sdist" else ""
        if (root / "src" / PLACE).is_dir():
            return  # this is an unpacked source distribution
        service = root.parent / "service"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "."],
            cwd=service, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for path in filter(None, listed.split("\0")):
            if (service / path).is_file():
                build_data["force_include"][str(service / path)] = f"{prefix}{PLACE}/{path}"
