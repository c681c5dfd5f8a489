"""The queue on NATS JetStream: publishing, consuming, dead letters.

Needs the extra ``paceline[nats]``.
"""
