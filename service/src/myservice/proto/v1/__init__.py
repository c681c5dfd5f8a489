"""Version 1 of the API: package ``myservice.v1`` on the wire.

Generated files only. A field keeps its number for ever.
"""
