"""The service and its resources.

Each resource has a module of its name in ``handler``, ``service``, ``repository`` and ``domain``,
and a function in ``main``, where the service is wired.
"""

__version__ = "0.1.0"
