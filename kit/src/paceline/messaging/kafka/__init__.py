"""The queue on Kafka: publishing and consuming by the same rules as on NATS.

Needs the extra ``paceline[kafka]``.
"""
