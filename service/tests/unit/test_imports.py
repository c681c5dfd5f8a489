"""What the service imports: nothing that it does not use, so that it starts quickly and is light."""

import json
import subprocess
import sys

PROGRAM = """
import json, sys
from myservice.cli import SERVICE
from myservice.config import Config
from paceline.commands import ProcessSpec, wire
from paceline.testing import TEST_SECRET, RecordingLog
given = {"database_url": "postgresql://nowhere/none", "jwt_secret": TEST_SECRET}
wire(SERVICE, Config.model_validate(given), RecordingLog(), ProcessSpec(service="myservice", version="test"))
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""
# Of the cache, the queue and the exporters, which are imported when they are used.
UNUSED = {"grpc", "uvicorn", "redis", "nats", "opentelemetry", "requests", "psutil"}


def test_a_process_that_serves_is_built_without_libraries_that_it_does_not_use() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    imported = set(json.loads(done.stdout))
    assert "asyncpg" in imported
    assert imported & UNUSED == set()
