"""HTTP: a thin typed layer over plain ASGI, compiled once at start-up.

A handler is a typed async function; what it declares (path, query, headers, body) is turned into
decoders when the route is added, so a request pays only for what it uses. Middleware is plain
ASGI, ``app -> app``, so anybody's works. Read ``app`` (dispatch), then ``binding`` (how arguments
are made), then ``problem`` (how errors leave). ``server`` runs any ASGI app on uvicorn.
"""
