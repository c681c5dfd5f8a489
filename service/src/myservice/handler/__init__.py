"""HTTP and gRPC handlers: decode a request, call the service, encode the answer.

Invariant: no business logic and no SQL; a handler decides only what a request and an answer look
like.
"""
