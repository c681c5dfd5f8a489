"""What comes through the queue: translate, call the service, translate back.

The counterpart of ``myservice.handler``: no business logic, no SQL. Start with ``orders``.
"""
