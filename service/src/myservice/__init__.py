"""The reference service of paceline: records over HTTP, on PostgreSQL.

It is also the template that new services start from. Read ``main`` first: it is the only file
that builds adapters and wires them; then follow one request through ``handler``, ``service`` and
``repository``.
"""

__version__ = "0.1.0"
