"""The HTTP server: listener, HTTP/1.1 connections, limits and graceful stop.

Any ASGI application runs on it.
"""
