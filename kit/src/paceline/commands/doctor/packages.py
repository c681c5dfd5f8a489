"""Whether the installed packages are those that a distribution asks for.

A deployment that was updated by hand is the usual way to a version nobody has tested. What is read
is the installed metadata; extras count only where their packages are there. Rejected: a library
for version numbers, whose finer rules (pre-releases, epochs) no requirement of ours uses.
"""

import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from paceline.commands.doctor.findings import Finding, fail, ok, warn

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)(?:;\s*(.*))?")
_RULE: Final = re.compile(r"(>=|==|<)\s*([0-9.]+)")
_NUMBER: Final = re.compile(r"[0-9]+")


def check_packages(*distributions: str) -> list[Finding]:
    """What each distribution requires, against what is installed: one line when all is well.

    One that is not installed itself, such as a service that runs from a folder, is a warning.
    """
    found: list[Finding] = []
    lines: list[str] = []
    for each in distributions:
        try:
            lines += requires(each) or ()
        except PackageNotFoundError:
            saw = f"{each} is not installed, so its requirements are unknown"
            found.append(warn("packages", saw, f"install {each} as a package"))
    return [*found, *assess_requirements(lines)]


def assess_requirements(lines: Sequence[str]) -> list[Finding]:
    """As `check_packages`, of requirements as metadata writes them."""
    wrong: list[Finding] = []
    right = 0
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is None or _is_for_another_platform(match[3] or ""):
            continue
        name, rules = match[1], match[2]
        try:
            found = version(name)
        except PackageNotFoundError:
            if "extra" not in (match[3] or ""):
                wrong.append(fail(name, "not installed", "install the locked requirements again"))
            continue
        if not all(_meets(found, *rule) for rule in _RULE.findall(rules)):
            mend = "install the locked requirements again"
            wrong.append(fail(name, f"{found} is installed, {rules.strip()} is needed", mend))
        else:
            right += 1
    return wrong or [ok("packages", f"{right} as required")]


def _is_for_another_platform(marker: str) -> bool:
    return "sys_platform != 'win32'" in marker.replace('"', "'") and sys.platform == "win32"


def _meets(found: str, operator: str, wanted: str) -> bool:
    have, want = _numbers(found), _numbers(wanted)
    if operator == "==":
        return have[: len(want)] == want
    return have < want if operator == "<" else have >= want


def _numbers(text: str) -> tuple[int, ...]:
    """The release part: "1.70.0rc1" is (1, 70, 0)."""
    found: list[int] = []
    for part in text.split("."):
        number = _NUMBER.match(part)
        if number is None:
            break
        found.append(int(number[0]))
        if number[0] != part:
            break
    return tuple(found)
