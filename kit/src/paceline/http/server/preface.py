"""What a client that speaks HTTP/2 sends first (RFC 9113 §3.4)."""

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
