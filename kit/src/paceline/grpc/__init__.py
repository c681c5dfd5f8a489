"""gRPC on grpcio's aio server: one application of typed methods, in this process, stopped by us.

``app`` is where to start: methods are declared with what they need, interceptors wrap them all
alike, unary and streaming, ours and the health service's. Invariant: bytes are decoded, errors
translated and answers encoded here, so a handler sees messages and raises ``paceline.errors``.
Rejected: grpcio's own interceptors, a chain that is run anew for each call and knows neither the
answer nor the error. Then read ``call``, ``status``, ``server``.
"""
