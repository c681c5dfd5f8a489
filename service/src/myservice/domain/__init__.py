"""What the service is about: types, rules and errors.

Invariant: imports ``paceline.errors`` and nothing else of the kit; knows no database and no
protocol, so every rule here can be tested as a plain function.
"""
