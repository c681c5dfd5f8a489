"""Where this service's migration files are.

They are data of the package, so they are found in a wheel and in a checkout alike. The commands,
the check at a start and the upgrade of ``run`` are ``paceline.postgres.migrate``'s.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable


def migrations() -> Traversable:
    """The folder of the migration files."""
    return files("myservice").joinpath("migrations")
