// The Go reference service: chi, pgx with a pool of 25, and the usual middleware (request id, real
// ip, slog line, recoverer, timeout, JWT whose verified tokens are remembered, rate limit); with
// TELEMETRY, an OTLP endpoint, its traces and metrics, too. Started by bench/servers.py. With
// LOCKS=ordered a transfer takes its locks in order, see transfers.go; with THROTTLE=1 chi's
// Throttle lets in as many requests as the pool has connections, and twice that may wait.
package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
)

const poolSize = 25

func main() {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		logger.Error("database url", "error", err)
		os.Exit(2)
	}
	endpoint := os.Getenv("TELEMETRY") // an OTLP endpoint: traces and metrics are on
	if endpoint != "" {
		flush, err := initTracer(ctx, endpoint)
		if err != nil {
			logger.Error("telemetry", "error", err)
			os.Exit(1)
		}
		defer flush()
		config.ConnConfig.Tracer = queryTracer{otel.Tracer("go-peer")}
	}
	config.MaxConns = poolSize
	config.MinConns = 5
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		logger.Error("database", "error", err)
		os.Exit(1)
	}
	defer pool.Close()

	api := &handler{pool: pool, move: movePlain}
	if os.Getenv("LOCKS") == "ordered" {
		api.move = moveOrdered
	}
	registry := prometheus.NewRegistry()
	r := chi.NewRouter()
	if endpoint != "" {
		r.Use(observed(registry))
	}
	r.Use(middleware.RequestID)
	r.Use(middleware.RealIP)
	r.Use(requestLog(logger))
	r.Use(middleware.Recoverer)
	r.Use(middleware.Timeout(30 * time.Second))
	if os.Getenv("THROTTLE") != "" {
		r.Use(middleware.ThrottleBacklog(poolSize, 2*poolSize, 100*time.Millisecond))
	}
	r.Get("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	r.Get("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP)
	r.Route("/api/v1", func(r chi.Router) {
		r.Use(authenticate([]byte(os.Getenv("JWT_SECRET"))))
		r.Use(rateLimit(10_000_000))
		r.With(scope("records:read")).Get("/records/{id}", api.getRecord)
		r.With(scope("records:read")).Get("/records", api.listRecords)
		r.With(scope("records:write")).Post("/records", api.createRecord)
		r.With(scope("transfers:write")).Post("/transfers", api.transfer)
	})

	server := &http.Server{
		Addr:         os.Getenv("HOST") + ":" + os.Getenv("PORT"),
		Handler:      r,
		ReadTimeout:  15 * time.Second,
		WriteTimeout: 30 * time.Second,
		IdleTimeout:  60 * time.Second,
	}
	go func() {
		<-ctx.Done()
		shutdown, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(shutdown)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		logger.Error("serve", "error", err)
		os.Exit(1)
	}
}
