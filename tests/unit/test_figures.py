"""The figures of README and docs/performance.md are those of the results that are checked in."""

from pathlib import Path

import pytest
from figures import PAGES, results, with_block


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_has_the_figures_that_are_checked_in(page: Path) -> None:
    text = page.read_text()
    assert text == with_block(text, PAGES[page](results())), "make figures"


def test_a_page_without_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="the page has no"):
        with_block("# How fast", "- GET")
