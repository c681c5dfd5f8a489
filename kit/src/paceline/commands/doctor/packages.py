"""Whether the installed packages are those that a distribution asks for.

A deployment that was updated by hand is the usual way to a version nobody has tested. What is read
is the installed metadata. The packages of an extra must be there when another of the distributions
asks for the extra; otherwise they are compared only where they are installed. Rejected: a library
for version numbers, whose finer rules (pre-releases, epochs) no requirement of ours uses.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from paceline.commands.doctor.findings import Finding, fail, ok, warn

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?\s*([^;]*)(?:;\s*(.*))?")
_EXTRA: Final = re.compile(r"extra == ['\"]([^'\"]+)['\"]")
_MEND: Final = "install the locked requirements again"
_RULE: Final = re.compile(r"(>=|==|<)\s*([0-9.]+)")
_NUMBER: Final = re.compile(r"[0-9]+")


def check_packages(*distributions: str) -> list[Finding]:
    """What each distribution requires, against what is installed: one line when all is well.

    One that is not installed itself, such as a service that runs from a folder, is a warning.
    """
    found: list[Finding] = []
    required: dict[str, Sequence[str]] = {}
    for each in distributions:
        try:
            required[each] = requires(each) or ()
        except PackageNotFoundError:
            saw = f"{each} is not installed, so its requirements are unknown"
            found.append(warn("packages", saw, f"install {each} as a package"))
    return [*found, *assess_requirements(with_extras(required))]


def with_extras(required: Mapping[str, Sequence[str]]) -> list[str]:
    """All requirements by distribution, as one list; those of extras that another asks for first.

    They lose the condition that makes them optional.
    """
    asked = {
        (match[1], extra.strip())
        for lines in required.values()
        for line in lines
        if (match := _REQUIREMENT.match(line)) and match[2]
        for extra in match[2].split(",")
    }
    needed: list[str] = []
    optional: list[str] = []
    for name, lines in required.items():
        for line in lines:
            extra = _EXTRA.search(line)
            if extra and (name, extra[1]) in asked:
                needed.append(_EXTRA.sub("", line))
            else:
                optional.append(line)
    return needed + optional


def assess_requirements(lines: Sequence[str]) -> list[Finding]:
    """As `check_packages`, of requirements as metadata writes them."""
    wrong: dict[tuple[str, str], Finding] = {}  # an extra repeats what another one requires
    right: set[str] = set()
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is None or _is_for_another_platform(match[4] or ""):
            continue
        name, rules = match[1], match[3].strip()
        try:
            found = version(name)
        except PackageNotFoundError:
            if _EXTRA.search(match[4] or "") is None:
                wrong[name, rules] = fail(name, "not installed", _MEND)
            continue
        if all(_meets(found, *rule) for rule in _RULE.findall(rules)):
            right.add(name)
        else:
            saw = f"{found} is installed, {rules} is needed"
            wrong[name, rules] = fail(name, saw, _MEND)
    return [*wrong.values()] or [ok("packages", f"{len(right)} as required")]


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
