"""The page docs/api-tour.md, as a reader would do it: its commands are run, its answers compared.

What differs from one run to the next (ids, times) is ``<id>`` on the page.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from service_process import MYSERVICE, environment, running_service

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs/api-tour.md"
SAME = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z"), "<time>"),
    (re.compile(r'"request_id":"[^"]+"'), '"request_id":"<id>"'),
    (re.compile(r'"milliseconds":[0-9.]+'), '"milliseconds":<number>'),
]


def tour() -> list[tuple[str, str]]:
    """The page's commands, each with the answer below it."""
    block = PAGE.read_text().split("<!-- tour")[1].split("```console\n")[1].split("```")[0]
    steps = [step.partition("\n") for step in block.split("$ ") if step]
    # A "$" in a command is never followed by a blank, so only prompts were cut at.
    return [(command, answer) for command, _, answer in steps]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour needs curl")
def test_the_tour_of_the_api_is_true(tmp_path: Path) -> None:
    mark = "next answer"
    with running_service(tmp_path / ".data") as service:
        lines: list[str] = []
        for command, _ in tour():
            here = command.replace("http://127.0.0.1:8080", service.url)
            lines += [here.replace("./myservice", str(MYSERVICE)), f"echo '{mark}'"]
        shell = subprocess.run(
            ["bash", "-c", "\n".join(lines)], env=environment(),
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    answers = shell.stdout.replace("\r", "").split(f"{mark}\n")[:-1]
    for pattern, name in SAME:
        answers = [pattern.sub(name, answer) for answer in answers]
    assert answers == [answer for _, answer in tour()], shell.stderr
