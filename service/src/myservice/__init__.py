"""The reference service of paceline, and a template for new ones: records, accounts, orders.

Each resource has a module of its name in ``handler``, ``service``, ``repository`` and ``domain``,
and a function in ``main``, where the service is wired.
"""

__version__ = "0.1.0"
