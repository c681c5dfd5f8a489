"""The layers: flags, environment, ``.env`` and config file, each read to texts with origins.

Invariant: each layer gives texts (a list as a list of texts), so each type has one grammar, and
``15`` in a TOML file is as ambiguous a duration as ``15`` in the environment. What cannot be read
is a problem, not an exception, and its text never quotes the file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Final, TypeGuard, cast

from dotenv.parser import Binding, parse_stream

from paceline.config.problem import Layer, Origin, SettingProblem

_LINE: Final = re.compile(r"line (\d+)")
# What Kubernetes sets in every pod for a Service: with one called "app", APP_PORT is its address.
_LINK_VALUE: Final = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")
_LINK_NAME: Final = re.compile(
    r"_PORT_\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_PORT|_ADDR)?\Z|_SERVICE_(?:HOST|PORT)(?:_\w+)?\Z"
)
# Two letters swapped in a word of four are close; half of a longer word is not.
_CLOSE: Final = 0.7


@dataclass(frozen=True, slots=True)
class LayerValue:
    """A field's value in one layer."""

    value: object
    origin: Origin


@dataclass(slots=True)
class LayerValues:
    """The content of one layer: values by field, problems, warnings."""

    values: dict[str, LayerValue] = field(default_factory=dict[str, LayerValue])
    problems: list[SettingProblem] = field(default_factory=list[SettingProblem])
    warnings: list[str] = field(default_factory=list[str])


def read_flags(fields: Mapping[str, str], flags: Mapping[str, object]) -> LayerValues:
    """Values by field name; None for a flag that was not given.

    Errors: ``TypeError`` for a flag that is not a field, which is a mistake in the program.
    """
    unknown = flags.keys() - fields.keys()
    if unknown:
        raise TypeError(f"not settings: {', '.join(sorted(unknown))}")
    found = LayerValues()
    for name, value in flags.items():
        if value is not None:
            origin = Origin(Layer.FLAG, f"--{name.replace('_', '-')}")
            found.values[name] = _trimmed(found, origin.where, LayerValue(_as_text(value), origin))
    return found


def read_environment(fields: Mapping[str, str], prefix: str, env: Mapping[str, str]) -> LayerValues:
    """Values by variable. An unknown one is a warning: platforms set variables of their own.

    So are service links, which would otherwise be the values of settings that end in ``_PORT``.
    """
    found = LayerValues()
    variables = {variable: name for name, variable in fields.items()}
    links = _service_links(variables, prefix, env)
    if links:
        found.warnings.append(
            f"{', '.join(links)}: service links of Kubernetes, ignored: set enableServiceLinks:"
            " false in the pod, or give the Service another name"
        )
    for variable, value in env.items():
        if variable in links:
            continue
        _take(found, variables, prefix, variable, LayerValue(value, Origin(Layer.ENVIRONMENT)))
    return found


def _service_links(
    variables: Mapping[str, str], prefix: str, env: Mapping[str, str]
) -> Sequence[str]:
    """The variables that Kubernetes has set, if one of them has the name of a setting."""
    links = [
        variable
        for variable, value in env.items()
        if variable in variables and variable.endswith("_PORT") and _LINK_VALUE.fullmatch(value)
    ]
    if not links or not prefix:
        return links
    others = (name for name in env if name.startswith(prefix) and _LINK_NAME.search(name))
    return [*links, *(name for name in others if name not in variables)]


def read_dotenv(fields: Mapping[str, str], prefix: str, path: Path) -> LayerValues:
    """Values by variable, without interpolation. A missing file has no values."""
    found = LayerValues()
    text = _read(path, found, required=False)
    if text is None:
        return found
    variables = {variable: name for name, variable in fields.items()}
    for binding in parse_stream(StringIO(text)):
        origin = Origin(Layer.DOTENV, f"{path} line {_line_of(binding)}")
        if binding.error or (binding.key is not None and binding.value is None):
            found.problems.append(
                SettingProblem(str(path), 'expected lines like "NAME=value"', origin)
            )
        elif binding.key is not None:
            _take(found, variables, prefix, binding.key, LayerValue(binding.value, origin))
    return found


def read_file(fields: Mapping[str, str], path: Path) -> LayerValues:
    """Values by field name, from TOML or YAML by the file's suffix; unknown names are problems."""
    found = LayerValues()
    origin = Origin(Layer.FILE, str(path))
    for name, value in _parse(path, found).items():
        if name in fields:
            if value is not None:
                found.values[name] = _trimmed(found, name, LayerValue(_as_text(value), origin))
        else:
            message = f"not a setting{_did_you_mean(name, {known: known for known in fields})}"
            found.problems.append(SettingProblem(name, message, origin))
    return found


def _take(
    found: LayerValues, variables: Mapping[str, str], prefix: str, variable: str, given: LayerValue
) -> None:
    name = variables.get(variable)
    if name is not None:
        found.values[name] = _trimmed(found, variable, given)
    elif prefix and variable.startswith(prefix):
        hint = _did_you_mean(
            variable.removeprefix(prefix), {name.removeprefix(prefix): name for name in variables}
        )
        found.warnings.append(f"{variable}: not a setting, ignored{hint} (from {given.origin})")


def _trimmed(found: LayerValues, variable: str, given: LayerValue) -> LayerValue:
    """Without newlines at its end, which come from a file that a secret was made of."""
    if not isinstance(given.value, str) or not given.value.endswith(("\n", "\r")):
        return given
    found.warnings.append(f"{variable}: ends in a newline, which is left out (from {given.origin})")
    return LayerValue(given.value.rstrip("\r\n"), given.origin)


def _did_you_mean(name: str, known: Mapping[str, str]) -> str:
    """A hint, if a known name is close; ``known`` gives the full form of each."""
    close = get_close_matches(name, known, 1, _CLOSE)
    return f"; did you mean {known[close[0]]}?" if close else ""


def _line_of(binding: Binding) -> int:
    """The line on which a binding begins; the parser includes the blank lines before it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _read(path: Path, found: LayerValues, *, required: bool) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if required:
            found.problems.append(SettingProblem(str(path), "no such file"))
    except OSError as exc:
        found.problems.append(SettingProblem(str(path), f"cannot be read: {exc.strerror}"))
    except UnicodeDecodeError:
        found.problems.append(SettingProblem(str(path), "expected text in UTF-8"))
    return None


def _parse(path: Path, found: LayerValues) -> Mapping[str, object]:
    parsers = {".toml": _parse_toml, ".yaml": _parse_yaml, ".yml": _parse_yaml}
    parse = parsers.get(path.suffix.lower())
    if parse is None:
        found.problems.append(
            SettingProblem(str(path), "expected a file named .toml, .yaml or .yml")
        )
        return {}
    text = _read(path, found, required=True)
    if text is None:
        return {}
    table = parse(text, path, found)
    if _is_table(table):
        return table
    if table is not None:
        found.problems.append(
            SettingProblem(str(path), "expected names with values at its top level")
        )
    return {}


def _parse_toml(text: str, path: Path, found: LayerValues) -> object:
    import tomllib  # noqa: PLC0415 - only a service with such a file pays for its parser

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        line = _LINE.search(str(exc))
        # No line in the parser's message: it failed at the end.
        found.problems.append(
            _malformed(path, "TOML", int(line[1]) if line else text.count("\n") + 1)
        )
    return None


def _parse_yaml(text: str, path: Path, found: LayerValues) -> object:
    import yaml  # noqa: PLC0415 - only a service with such a file pays for its parser

    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        found.problems.append(_malformed(path, "YAML", mark.line + 1 if mark else None))
    except (yaml.YAMLError, ValueError, RecursionError):
        found.problems.append(_malformed(path, "YAML", None))
    return None


def _malformed(path: Path, language: str, line: int | None) -> SettingProblem:
    # The parser's own message may quote the line, and the line may hold a secret.
    where = f" at line {line}" if line is not None else ""
    return SettingProblem(str(path), f"not valid {language}{where}")


def _is_table(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, dict) and all(
        isinstance(key, str) for key in cast("dict[object, object]", value)
    )


def _as_text(value: object) -> object:
    """A scalar as an operator would write it; a list of them as a list, a table unchanged."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return [_as_text(member) for member in cast("list[object]", value)]
    return cast("object", value) if isinstance(value, dict) else str(value)
