"""HTTP/2 (RFC 9113): frames, header blocks, flow control, and the streams of a connection."""
