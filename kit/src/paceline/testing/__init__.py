"""What tests of a service share: a clock that is moved by hand, real servers.

Nothing here is imported by running code. Each module stands for itself: ``clock``, ``postgres``,
``nats``, ``redis`` and ``proxy`` (free of pytest) and ``fixtures`` (pytest's way to the servers).
"""
