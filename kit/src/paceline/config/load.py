"""Loading: the layers merged, validated once, every problem reported, every origin recorded.

flag > environment > ``.env`` > config file > fallback > default. The validation library decides
what is valid; its messages are replaced by one wording, "expected …, got …", made from the field's
own type (``value_format``).
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

from paceline.config.layers import (
    LayerValue,
    LayerValues,
    read_dotenv,
    read_environment,
    read_file,
    read_flags,
)
from paceline.config.problem import ConfigError, Layer, Origin, SettingProblem
from paceline.config.secret import WEAK
from paceline.config.settings import Settings
from paceline.config.value_format import expectation, is_optional, is_secret
from paceline.log import mask_urls

FindFallback: TypeAlias = Callable[[Mapping[str, object]], Mapping[str, tuple[str, str]]]
"""Gets the values that are given; returns others by field, each with where it came from."""
Needed: TypeAlias = Callable[[Mapping[str, object]], Collection[str]]
FindProblems: TypeAlias = Callable[[Mapping[str, object]], Mapping[str, str]]
"""Gets the values that are given; returns what is wrong with them by field, in sentences."""
S = TypeVar("S", bound=Settings)
S_co = TypeVar("S_co", bound=Settings, covariant=True)

_MAX_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S_co]):
    """A valid configuration, the origin of each field's value, and warnings."""

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
    find_problems: FindProblems | None = None,
    fallback: FindFallback | None = None,
) -> Loaded[S]:
    """Load all layers into an instance of ``settings``.

    ``flags``: values by field name, None for one not given. ``env``: by default the process's
    environment. ``dotenv`` need not exist; ``file`` must.

    ``needed`` names the fields that must be given, in view of those that are: it gets their values,
    as text those that are not valid. ``find_problems`` gets them, too, and finds what a type cannot
    know, such as a file that is not there.

    ``fallback`` finds values for what no layer gives, in view of what they give, such as those of
    an instance that runs; names that are not fields are ignored.

    An empty text means None for a field that may be None; for any other it is a value.

    Errors: `ConfigError` with every problem of every layer.
    """
    variables = {name: settings.variable(name) for name in settings.model_fields}
    prefix = settings.variable("")
    # The lowest precedence first: a later layer overrides.
    layers = [
        read_file(variables, file) if file else LayerValues(),
        read_dotenv(variables, prefix, dotenv) if dotenv else LayerValues(),
        read_environment(variables, prefix, os.environ if env is None else env),
        read_flags(variables, flags or {}),
    ]
    given = {name: value for layer in layers for name, value in layer.values.items()}
    if fallback is not None:
        others = fallback({name: value.value for name, value in given.items()})
        for name, (value, where) in others.items():
            if name in variables and name not in given:
                given[name] = LayerValue(value, Origin(Layer.FALLBACK, where))
    config, invalid = _validate(settings, given)
    problems = [problem for layer in layers for problem in layer.problems] + invalid
    present = _present(settings, given, config)
    problems += _missing(settings, present, needed)
    if find_problems is not None:
        problems += [
            SettingProblem(settings.variable(name), message, given[name].origin)
            for name, message in find_problems(present).items()
        ]
    if problems or config is None:
        raise ConfigError(problems)
    default = Origin(Layer.DEFAULT)
    return Loaded(
        config,
        {name: given[name].origin if name in given else default for name in variables},
        tuple(warning for layer in layers for warning in layer.warnings),
    )


def _present(
    settings: type[Settings], given: Mapping[str, LayerValue], config: Settings | None
) -> Mapping[str, object]:
    """The values that are given: an empty text for a field that may be None is none."""
    return {
        name: getattr(config, name)
        if config
        else _value_by_itself(settings.model_fields[name], value.value)
        for name, value in given.items()
        if not _means_none(settings, name, value)
    }


def _missing(
    settings: type[Settings], present: Mapping[str, object], needed: Needed | None
) -> Iterable[SettingProblem]:
    for name in needed(present) if needed is not None else ():
        if name not in present:
            message = f"required, not set; expected {expectation(settings.model_fields[name])}"
            yield SettingProblem(settings.variable(name), message)


def _value_by_itself(field: FieldInfo, value: object) -> object:
    """The value validated without the others; as it is if it is not valid."""
    annotation: Any = field.rebuild_annotation()
    try:
        return TypeAdapter[object](annotation).validate_python(value)
    except ValidationError:
        return value


def _means_none(settings: type[Settings], name: str, given: LayerValue) -> bool:
    return given.value == "" and is_optional(settings.model_fields[name])


def _validate(
    settings: type[S], given: Mapping[str, LayerValue]
) -> tuple[S | None, list[SettingProblem]]:
    values = {
        name: None if _means_none(settings, name, value) else value.value
        for name, value in given.items()
    }
    try:
        return settings.model_validate(values), []
    except ValidationError as exc:
        # Outside of this block, or the error, which holds the values, would become a context.
        errors = exc.errors(include_url=False)
    return None, list(_problems(settings, given, errors))


def _problems(
    settings: type[Settings], given: Mapping[str, LayerValue], errors: Iterable[ErrorDetails]
) -> Iterable[SettingProblem]:
    first: dict[str, ErrorDetails] = {}
    for error in errors:
        first.setdefault(str(error["loc"][0]) if error["loc"] else "", error)
    for name in ("", *settings.model_fields):
        if name not in first:
            continue
        error = first[name]
        if not name:
            yield SettingProblem(settings.variable("*"), _validator_message(error))
            continue
        source = given.get(name)
        message = _message(settings.model_fields[name], error, source)
        yield SettingProblem(settings.variable(name), message, source.origin if source else None)


def _message(field: FieldInfo, error: ErrorDetails, given: LayerValue | None) -> str:
    if given is None:
        return f"required, not set; expected {expectation(field)}"
    if error["type"] == WEAK:
        return f"expected {expectation(field)}, got {error['msg']}"
    rule = (
        _validator_message(error)
        if error["type"] == "value_error"
        else f"expected {expectation(field)}"
    )
    return rule if is_secret(field) else f"{rule}, got {_shown(given.value)}"


def _validator_message(error: ErrorDetails) -> str:
    """The message of a service's own validator."""
    reason = error.get("ctx", {}).get("error")
    return str(reason) if reason is not None else "not valid"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = mask_urls(str(value))
    # Escaped as in JSON: a value may hold control characters of a terminal.
    return json.dumps(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")
