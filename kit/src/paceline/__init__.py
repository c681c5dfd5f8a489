"""Paceline: Python backend services at Go's pace.

The kit holds no domain word and never imports a service. Each room (a module or a package) is
imported by its own name, ``from paceline.errors import NotFound``: this file re-exports nothing,
so an import costs what it names. Start with ``paceline.errors``, then ``paceline.http``.
"""

__version__ = "0.1.0"
