"""The OpenAPI document against the running service: schemathesis tries every operation.

It sends what the schemas allow and what they forbid, follows links between operations, and checks
that each answer is documented, that valid input is taken, invalid input refused, and that nothing
is ever a server error.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from service_process import running_service

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent
EXAMPLES = "25"


@pytest.mark.timeout(240)
def test_the_service_keeps_what_its_document_promises(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", APP_RATE_LIMIT="0") as service:
        run = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                "--config-file", HERE.parent / "schemathesis.toml",
                "run", f"{service.url}/openapi.json",
                "--header", f"Authorization: Bearer {service.token}",
                "--checks", "all", "--max-examples", EXAMPLES,
                "--request-timeout", "10", "--seed", "1", "--no-color",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=220, check=False,
        )  # fmt: skip
        assert service.stop() == 0
        log = service.log()
    assert run.returncode == 0, run.stdout
    assert '"level":"error"' not in log
