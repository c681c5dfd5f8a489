"""The service's own commands, one module for each group.

A command wires the few parts that it needs and stops them when it ends. Commands that every service
has, such as ``serve`` and ``migrate``, are in the kit.
"""
