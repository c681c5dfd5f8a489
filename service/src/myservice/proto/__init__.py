"""The messages of the gRPC API, generated from ``api/proto`` by ``make protos``.

Not edited by hand; a test compares it with a fresh run. It is checked in so that an installed
service needs no compiler, with stubs so that handlers are typed. grpcio's clients of these services
(``*_pb2_grpc``) are among the tests' tools, in ``tests/support``.
"""
