"""The reference service of paceline: records, accounts and orders, on PostgreSQL.

It is also the template that new services start from. Read ``main`` first, where it is built and
wired; then follow one request through ``handler``, ``service`` and ``repository``.
"""

__version__ = "0.1.0"
