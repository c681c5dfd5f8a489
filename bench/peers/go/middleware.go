package main

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5/middleware"
	"golang.org/x/time/rate"
)

type contextKey struct{}

func requestLog(logger *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			id := middleware.GetReqID(r.Context())
			ww.Header().Set("X-Request-Id", id)
			next.ServeHTTP(ww, r)
			logger.Info("request completed",
				"request_id", id,
				"method", r.Method,
				"path", r.URL.Path,
				"status", ww.Status(),
				"bytes", ww.BytesWritten(),
				"duration_ms", float64(time.Since(start).Microseconds())/1000,
				"client", r.RemoteAddr,
			)
		})
	}
}

func authenticate(secret []byte) func(http.Handler) http.Handler {
	tokens := newVerifier(secret)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !found {
				problem(w, http.StatusUnauthorized, "this needs a bearer token")
				return
			}
			who, err := tokens.verify(token)
			if err != nil {
				problem(w, http.StatusUnauthorized, "the token is not valid")
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, who)))
		})
	}
}

func caller(r *http.Request) *claims {
	return r.Context().Value(contextKey{}).(*claims)
}

func scope(needed string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !slices.Contains(strings.Fields(caller(r).Scope), needed) {
				problem(w, http.StatusForbidden, "this needs the scope "+needed)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func rateLimit(perSecond float64) func(http.Handler) http.Handler {
	var mu sync.Mutex
	limiters := map[string]*rate.Limiter{}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			subject := caller(r).Subject
			mu.Lock()
			limiter, ok := limiters[subject]
			if !ok {
				limiter = rate.NewLimiter(rate.Limit(perSecond), int(2*perSecond))
				limiters[subject] = limiter
			}
			mu.Unlock()
			if !limiter.Allow() {
				problem(w, http.StatusTooManyRequests, "too many requests, slow down")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
