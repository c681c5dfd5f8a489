"""What tests of a service share: a clock that is moved by hand, a real PostgreSQL.

Nothing here is imported by running code. Each module stands for itself: ``clock``, ``postgres``
(free of pytest) and ``fixtures`` (pytest's way to the same).
"""
