package main

import (
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxTokens is how many verified tokens are remembered, as by the service that this is compared to.
const maxTokens = 10_000

type claims struct {
	Scope string `json:"scope"`
	jwt.RegisteredClaims
}

// verifier checks tokens and remembers those that were good until they expire; when there are too
// many it begins anew. A token that is remembered costs a lookup and no signature.
type verifier struct {
	parser *jwt.Parser
	key    jwt.Keyfunc
	mu     sync.RWMutex
	known  map[string]*claims
}

func newVerifier(secret []byte) *verifier {
	return &verifier{
		parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired()),
		key:    func(*jwt.Token) (any, error) { return secret, nil },
		known:  map[string]*claims{},
	}
}

func (v *verifier) verify(token string) (*claims, error) {
	v.mu.RLock()
	who := v.known[token]
	v.mu.RUnlock()
	if who != nil && time.Now().Before(who.ExpiresAt.Time) {
		return who, nil
	}
	who = &claims{}
	if _, err := v.parser.ParseWithClaims(token, who, v.key); err != nil {
		return nil, err
	}
	v.mu.Lock()
	if len(v.known) >= maxTokens {
		clear(v.known)
	}
	v.known[token] = who
	v.mu.Unlock()
	return who, nil
}
