"""The commands of this service's own: one file a group, as the command line names it.

A command wires the few parts it needs and runs them for as long as it works; what every service
has, such as `serve` and `migrate`, is the kit's.
"""
