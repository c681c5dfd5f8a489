"""A live view of a running instance, by what its admin port tells: rates, latencies, queues, log.

Invariant: it only asks, once a second, for what anybody could scrape, so a look changes nothing and
costs the instance next to nothing. It needs no metric in particular: what an instance does not have
is not shown. Read ``instance`` (asking), ``exposition`` (reading metrics), ``figures`` (two looks
become rates), ``panels`` (figures become text) and ``live``, the only file that knows the terminal
library and is imported only by who shows a screen.
"""
