"""PostgreSQL adapters: all of the service's SQL, and nothing else. Start with ``records``."""
