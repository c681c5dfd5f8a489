"""What the service is about: types, rules and errors.

Imports ``paceline.errors`` and nothing else of the kit; knows no database and no protocol.
Start with ``records``.
"""
