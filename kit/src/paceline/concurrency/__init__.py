"""Concurrency on asyncio: deadlines, task groups, worker pools, merged streams, single flight.

Everything that waits has a deadline, and nothing outlives the block that started it.
"""
