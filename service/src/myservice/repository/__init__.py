"""PostgreSQL adapters: all of the service's SQL, and nothing else.

Each implements a Protocol that its user declares in ``myservice.service``. Start with
``records``.
"""
