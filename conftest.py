"""For all tests: hypothesis takes the time it takes, because the machine may be busy.

A slow example on a loaded machine says nothing about the code; what must be fast is measured in
``bench``. Fixtures are in the two ``tests`` folders.
"""

import gc

from hypothesis import HealthCheck, settings
from hypothesis.strategies import text

settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("busy")


def pytest_collection_finish() -> None:
    """Make hypothesis's table of Unicode, which takes a second on a clean clone.

    Otherwise the watch on the loop blames the first asynchronous test that draws a text. The
    collected tests are taken out of the garbage collector's sight: looking at all of them takes
    longer than the watch allows.
    """
    text().validate()
    gc.collect()
    gc.freeze()
