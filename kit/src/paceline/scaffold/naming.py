"""Names of services and resources, and texts in which they are replaced.

Invariant: replacing a name by another and that by the first gives the text back, as long as the
second did not occur in it. A name is replaced in every spelling it has in sources, paths and prose;
words that only begin like it ("recording") are left alone.
"""

import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from paceline.scaffold.errors import ScaffoldError

_SERVICE: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_RESOURCE: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_MAX_LENGTH: Final = 40
"""Of a name: Kubernetes takes 63 characters, and some are appended."""
# Where the name of the package is meant, and not that of the distribution, its program and images.
_AFTER: Final = "|".join(
    rf"(?<={re.escape(text)})"
    for text in (
        "from ", "import ", "def ", "src/", "proto/",
        '_packages = ["', 'containers = ["', 'first-party = ["',
    )
)  # fmt: skip
_BEFORE: Final = r"(?=\.[a-z_]|/[a-z_]|:migrations|v\d|_|\()"
_SOUNDS_LIKE_A_CONSONANT: Final = ("eu", "one", "uni", "use", "usa")
_SILENT_H: Final = ("heir", "honest", "honour", "honor", "hour")


@dataclass(frozen=True, slots=True)
class ServiceName:
    """``distribution``: the name as given, ``price-list``; its package is ``price_list``."""

    distribution: str

    @classmethod
    def parse(cls, text: str) -> "ServiceName":
        """Errors: ScaffoldError for what is no name of a distribution and of a package."""
        if not _SERVICE.fullmatch(text) or len(text) > _MAX_LENGTH:
            raise ScaffoldError(
                f"{text!r} cannot be a service's name: write up to {_MAX_LENGTH} lower-case letters"
                " and digits, words joined by hyphens, for example price-list",
                usage=True,
            )
        name = cls(text.replace("_", "-"))
        if keyword.iskeyword(name.package):
            raise ScaffoldError(f"{text!r} is a keyword of Python: choose another", usage=True)
        return name

    @property
    def package(self) -> str:
        """What Python imports."""
        return self.distribution.replace("-", "_")


@dataclass(frozen=True, slots=True)
class ResourceName:
    """A resource, in snake case: ``line_item``, ``line_items``."""

    singular: str
    plural: str

    @classmethod
    def parse(cls, text: str) -> "ResourceName":
        """``invoice``, or ``person/people`` where the plural is irregular.

        Errors: ScaffoldError for what is no name.
        """
        singular, _, given = text.partition("/")
        plural = given or pluralize(singular)
        for name in (singular, plural):
            if not _RESOURCE.fullmatch(name) or len(name) > _MAX_LENGTH:
                raise ScaffoldError(
                    f"{text!r} cannot be a resource's name: write one thing in lower case, for"
                    " example invoice or line_item, or person/people with its plural",
                    usage=True,
                )
            if keyword.iskeyword(name):
                raise ScaffoldError(f"{name!r} is a keyword of Python: choose another", usage=True)
        if singular == plural:
            raise ScaffoldError(
                f"{text!r}: singular and plural must differ: write, for example, sheep/flocks",
                usage=True,
            )
        return cls(singular, plural)

    def __str__(self) -> str:
        """As `parse` takes it."""
        regular = pluralize(self.singular) == self.plural
        return self.singular if regular else f"{self.singular}/{self.plural}"


def pluralize(word: str) -> str:
    """The regular plural of an English word."""
    if re.search(r"[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"


def article_of(word: str) -> str:
    """Give "a" or "an", by how the word sounds."""
    if word.startswith(_SILENT_H):
        return "an"
    vowel = word[:1] in set("aeiou") and not word.startswith(_SOUNDS_LIKE_A_CONSONANT)
    return "an" if vowel else "a"


def camel(name: str) -> str:
    """``LineItem`` of ``line_item``."""
    return "".join(part.capitalize() for part in name.split("_"))


def rename_service(text: str, old: ServiceName, new: ServiceName) -> str:
    """``text`` (a source, a page, a path) with the name of the service replaced.

    A name with a hyphen is replaced by the package's where Python or a proto reads it, and by the
    distribution's elsewhere. Capitals (``PRICE_LIST``) have no hyphens anywhere.
    """
    for spelling in sorted({old.distribution, old.package}):
        word = rf"(?<![A-Za-z0-9]){re.escape(spelling)}(?=v\d|(?![A-Za-z0-9]))"
        text = re.sub(rf"(?:{_AFTER}){word}|{word}{_BEFORE}", new.package, text)
        text = re.sub(word, new.distribution, text)
    return re.sub(rf"(?<![A-Z0-9]){old.package.upper()}(?![A-Z0-9])", new.package.upper(), text)


def rename_resource(text: str, old: ResourceName, new: ResourceName) -> str:
    """``text`` with the resource replaced: ``record``, ``Records``, ``RECORDS``, "a record"."""
    if old == new:
        return text
    for spelling in _SPELLINGS:
        text = _replace(text, old, new, spelling)
    return text


@dataclass(frozen=True, slots=True)
class _Spelling:
    """How a name is spelled, and what may not stand before and after it."""

    spell: Callable[[str], str]
    before: str
    after: str


_SPELLINGS: Final = (
    _Spelling(str, r"(?<![A-Za-z])", r"(?![a-z])"),
    _Spelling(camel, r"(?<!asyncpg\.)", r"(?![a-z])"),  # a library's class is not ours
    _Spelling(str.upper, r"(?<![A-Z])", r"(?![A-Z])"),
)


def _replace(text: str, old: ResourceName, new: ResourceName, spelling: _Spelling) -> str:
    spell, before, after = spelling.spell, spelling.before, spelling.after
    singular, plural = spell(old.singular), spell(old.plural)
    words = {singular: spell(new.singular), plural: spell(new.plural)}
    article = r"(?:(?<![A-Za-z0-9_])(?P<article>[Aa])n?(?P<gap>\s+(?:# |\* )?[`\"]*))?"
    either = "|".join(sorted(map(re.escape, words), key=len, reverse=True))

    def replaced(found: re.Match[str]) -> str:
        word = words[found["word"]]
        if found["article"] is None:
            return word
        suffix = article_of(word.lower())[1:]
        return f"{found['article']}{suffix}{found['gap']}{word}"

    return re.sub(f"{article}{before}(?P<word>{either}){after}", replaced, text)
