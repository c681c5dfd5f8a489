"""The README's excerpt of a service is the file that docs/first-service.md has, and that is run."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def first_block(page: str) -> str:
    """The first block of Python on a page."""
    return (ROOT / page).read_text().split("```python\n")[1].split("```")[0]


def test_the_service_of_the_readme_is_that_of_the_page() -> None:
    assert first_block("README.md") in first_block("docs/first-service.md")
