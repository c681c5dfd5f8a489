"""Metrics for Prometheus: what is counted as it happens, and what is read when somebody asks.

``registry`` has `Metrics`, which ``main`` builds and hands on; ``histogram`` is the hot path;
``watch`` reads the ``stats`` of coalescers, pools and the like at scrape time; ``loop`` measures
the event loop; ``merge`` makes one exposition of several processes'. Nothing is global, and nothing
is imported here: who merges or measures does not pay for the rest. Every name is in
``docs/metrics.md``.
"""
