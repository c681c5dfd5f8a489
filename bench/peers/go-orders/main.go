// The reference consumer in Go: each order is paid in a transaction of its own and acknowledged
// after its commit. Started by bench/orders.py. Push subscription, durable, manual ack, ack wait
// 30 s, at most 5 deliveries, nak after 5 s. By itself one message at a time (plain.go); with
// WORKERS=25 so many at once, those of one payer one after the other, see ordered.go.
package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
)

type order struct {
	ID   uuid.UUID `json:"id"`
	From uuid.UUID `json:"from"`
}

type processor struct {
	pool *pgxpool.Pool
}

func main() {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, logger); err != nil {
		logger.Error("worker", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, logger *slog.Logger) error {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	config.MaxConns = 25
	config.MinConns = 5
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	nc, err := nats.Connect(os.Getenv("NATS_URL"), nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1), nats.ReconnectWait(2*time.Second))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		return err
	}
	handler := &processor{pool}
	workers, _ := strconv.Atoi(os.Getenv("WORKERS"))
	process := handler.process
	if workers > 1 {
		process = handler.processOrdered
	}
	handle := func(msg *nats.Msg, o *order) {
		if err := process(ctx, o); err != nil {
			logger.Error("process order", "id", o.ID, "err", err)
			_ = msg.NakWithDelay(5 * time.Second)
			return
		}
		_ = msg.Ack()
	}
	handle = spread(workers, handle)
	sub, err := js.Subscribe("orders.>", func(msg *nats.Msg) {
		var o order
		if err := json.Unmarshal(msg.Data, &o); err != nil {
			logger.Error("unmarshal order", "err", err)
			_ = msg.Nak()
			return
		}
		handle(msg, &o)
	}, nats.Durable("order-processor"), nats.ManualAck(), nats.AckWait(30*time.Second),
		nats.MaxDeliver(5))
	if err != nil {
		return err
	}
	logger.Info("ready")
	<-ctx.Done()
	return sub.Drain()
}
