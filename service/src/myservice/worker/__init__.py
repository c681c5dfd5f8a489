"""Consumers of the queue: decode messages, call the service, report an outcome for each.

Invariant: no business logic and no SQL, as in the handlers of requests.
"""
