"""HTTP/1.1: reading requests, answering them in turn, and what a head must not be."""

from paceline.http.server.http1.connection import HttpConnection
from paceline.http.server.http1.head import problem_response

__all__ = ["HttpConnection", "problem_response"]
