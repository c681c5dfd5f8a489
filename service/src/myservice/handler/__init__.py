"""The edges: decode, call the service, encode. No business logic. Start with ``http``."""
