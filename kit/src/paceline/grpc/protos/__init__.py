"""gRPC's own services (health, reflection): their protos and the messages made of them.

Not edited by hand: ``tools/standard_protos.py`` writes the modules, and a test compares them with a
fresh run. Invariant: each file has a descriptor pool of its own, so the same protos may be in the
default pool, too, where grpcio-health-checking and grpcio-reflection put them. Rejected: what
protoc writes for Python, which registers itself in the default pool and refuses to be imported with
a protobuf older than the compiler.
"""
