"""The verified tokens of a Python peer, remembered until they expire, as the service does it.

Bounded; a token that is remembered costs a look-up and no signature.
"""

import time

import jwt

MOST = 10_000


class TokenMemory:
    """Verifies tokens with PyJWT, each once."""

    def __init__(self, secret):
        self.secret = secret
        self.known = {}

    def claims(self, token):
        """The claims of a token. Errors: jwt.InvalidTokenError."""
        claims = self.known.get(token)
        if claims is not None and time.time() < claims["exp"]:
            return claims
        claims = jwt.decode(token, self.secret, algorithms=["HS256"], options={"require": ["exp"]})
        if len(self.known) >= MOST:
            self.known.clear()
        self.known[token] = claims
        return claims
