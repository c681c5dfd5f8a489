"""The edges: decode, call the service, encode.

No business logic and no SQL: what a handler decides is only how a request and an answer look.
Start with ``http``.
"""
