"""Loading: the layers merged, validated once, every problem told, every origin kept.

flag > environment > ``.env`` > config file > default. The validation library decides what is
valid; what it says about it is replaced by one wording, "expected …, got …", made from the
field's own type (``form``). Called by the command line; ``report`` shows the result.
"""

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from paceline.config.form import expectation, is_optional, is_secret
from paceline.config.problem import ConfigError, Layer, Origin, Problem
from paceline.config.secret import mask_url
from paceline.config.settings import Settings
from paceline.config.sources import (
    Found,
    Given,
    read_dotenv,
    read_environment,
    read_file,
    read_flags,
)

Needed: TypeAlias = Callable[[Mapping[str, object]], Collection[str]]
S = TypeVar("S", bound=Settings)
S_co = TypeVar("S_co", bound=Settings, covariant=True)

_MOST_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S_co]):
    """A valid configuration, where each field's value came from, and what looked odd."""

    config: S_co
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...]


def load(
    settings: type[S],
    *,
    flags: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    dotenv: Path | None = None,
    file: Path | None = None,
    needed: Needed | None = None,
) -> Loaded[S]:
    """Read all layers into one ``settings``.

    ``flags`` are values by field name, None for one not given. ``env`` is the process's
    environment unless given. ``dotenv`` need not exist; ``file`` must.

    ``needed`` names the fields that must be given, in view of those that are: it gets their values,
    as text those that are not valid.

    An empty text means None for a field that may be None; for any other it is a value.

    Errors: `ConfigError` with every problem of every layer.
    """
    variables = {name: settings.variable(name) for name in settings.model_fields}
    prefix = settings.variable("")
    # The weakest first: a later one replaces what it names.
    layers = [
        read_file(variables, file) if file else Found(),
        read_dotenv(variables, prefix, dotenv) if dotenv else Found(),
        read_environment(variables, prefix, os.environ if env is None else env),
        read_flags(variables, flags or {}),
    ]
    given = {name: value for layer in layers for name, value in layer.values.items()}
    config, invalid = _validate(settings, given)
    problems = [problem for layer in layers for problem in layer.problems] + invalid
    problems += _missing(settings, given, config, needed)
    if problems or config is None:
        raise ConfigError(problems)
    default = Origin(Layer.DEFAULT)
    return Loaded(
        config,
        {name: given[name].origin if name in given else default for name in variables},
        tuple(warning for layer in layers for warning in layer.warnings),
    )


def _missing(
    settings: type[Settings],
    given: Mapping[str, Given],
    config: Settings | None,
    needed: Needed | None,
) -> Iterable[Problem]:
    # An empty text for a field that may be None says "none": that is not giving it.
    present = {
        name: getattr(config, name) if config else _alone(settings.model_fields[name], value.value)
        for name, value in given.items()
        if not _says_none(settings, name, value)
    }
    for name in needed(present) if needed is not None else ():
        if name not in present:
            message = f"required, not set; expected {expectation(settings.model_fields[name])}"
            yield Problem(settings.variable(name), message)


def _alone(field: FieldInfo, value: object) -> object:
    """What a value means when others are not valid; itself when it is not valid either."""
    annotation: Any = field.rebuild_annotation()
    try:
        return TypeAdapter[object](annotation).validate_python(value)
    except ValidationError:
        return value


def _says_none(settings: type[Settings], name: str, given: Given) -> bool:
    return given.value == "" and is_optional(settings.model_fields[name])


def _validate(settings: type[S], given: Mapping[str, Given]) -> tuple[S | None, list[Problem]]:
    values = {
        name: None if _says_none(settings, name, value) else value.value
        for name, value in given.items()
    }
    try:
        return settings.model_validate(values), []
    except ValidationError as exc:
        # Outside this block lest the error, which holds the values, becomes a problem's context.
        errors = exc.errors(include_url=False)
    return None, list(_problems(settings, given, errors))


def _problems(
    settings: type[Settings], given: Mapping[str, Given], errors: Iterable[ErrorDetails]
) -> Iterable[Problem]:
    first: dict[str, ErrorDetails] = {}
    for error in errors:
        first.setdefault(str(error["loc"][0]) if error["loc"] else "", error)
    for name in ("", *settings.model_fields):
        if name not in first:
            continue
        error = first[name]
        if not name:
            yield Problem(settings.variable("*"), _own_words(error))
            continue
        source = given.get(name)
        message = _message(settings.model_fields[name], error, source)
        yield Problem(settings.variable(name), message, source.origin if source else None)


def _message(field: FieldInfo, error: ErrorDetails, given: Given | None) -> str:
    if given is None:
        return f"required, not set; expected {expectation(field)}"
    if error["type"] == "fault":
        return f"expected {expectation(field)}, got {error['msg']}"
    rule = _own_words(error) if error["type"] == "value_error" else f"expected {expectation(field)}"
    return rule if is_secret(field) else f"{rule}, got {_shown(given.value)}"


def _own_words(error: ErrorDetails) -> str:
    """What a service's own validator said."""
    reason = error.get("ctx", {}).get("error")
    return str(reason) if reason is not None else "not valid"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = mask_url(str(value))
    # JSON's escapes: a value may hold what a terminal would obey.
    return json.dumps(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")
