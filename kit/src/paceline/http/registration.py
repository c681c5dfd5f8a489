"""What of a route is checked when it is added: its answer and its options.

Arguments are checked where they are bound. Each refusal says what to write instead; the route and
the handler are named by who registers it. What a type checker sees is checked again here only
where a mistake passes one: a text is a sequence of texts, so ``scopes="notes:read"`` would be ten
scopes of one letter.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from types import NoneType
from typing import Any, Final, get_args, get_origin

from paceline.errors import Error
from paceline.http.binding import Signature, check_type
from paceline.http.endpoint import Reply
from paceline.http.events import Events

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_WITHOUT_BODY: Final = ("GET", "HEAD")
_EMPTY: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED)


def texts_of(options: Mapping[str, Any], name: str, example: str) -> Sequence[str]:
    """The texts of an option. Errors: TypeError for a single text."""
    found: Sequence[str] = options.get(name, ())
    if isinstance(found, str):
        raise TypeError(f'{name} is a text; write a list: {name}=["{found or example}"]')
    return found


def check_method(method: str) -> None:
    """Refuse a method that no request has. Errors: ValueError."""
    if not method.isupper():
        raise ValueError(f"the method is {method!r}; write one of {', '.join(_METHODS)}")


def check_answer(returns: Any, status: int) -> None:
    """Refuse an answer that cannot be sent. Errors: TypeError."""
    for wrapper in (Reply, Events):
        if returns is wrapper:
            name = wrapper.__name__
            raise TypeError(f"it returns {name} of nothing; write {name}[...] with the type of it")
    kind = get_args(returns)[0] if get_origin(returns) in {Reply, Events} else returns
    if kind in {None, NoneType}:
        return
    check_type("the answer", kind)
    if status in _EMPTY:
        raise TypeError(f"an answer with status {status} has no body; write -> None")


def check_body(method: str, signature: Signature) -> None:
    """Refuse the body of a request that has none. Errors: TypeError."""
    body = signature.body
    if body is not None and method in _WITHOUT_BODY:
        raise TypeError(
            f"a {method} has no body; write {body.name}: Query[...] for parameters of the query, or"
            " register it with post"
        )


def check_errors(errors: Iterable[object]) -> None:
    """Refuse what is not a type of error. Errors: TypeError."""
    for each in errors:
        if not (inspect.isclass(each) and issubclass(each, Error)):
            raise TypeError(f"errors has {each!r}; write the class of an Error")
