"""HTTP/1.1: reading requests, answering them in turn, and what a head must not be."""
