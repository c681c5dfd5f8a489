"""The commands that every service has, and what they stand on.

A service states its name, its settings, its wiring and its own checks; the rest is here.
"""
