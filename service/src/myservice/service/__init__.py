"""Use cases, and the interfaces that they need, each declared beside its user.

Invariant: knows the domain, and neither HTTP nor gRPC nor SQL.
"""
