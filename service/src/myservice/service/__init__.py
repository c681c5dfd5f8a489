"""Business logic, and the interfaces it needs, each declared beside its one user.

Knows the domain and nothing of HTTP or SQL. Start with ``records``.
"""
