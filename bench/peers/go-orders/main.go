// The reference consumer in Go: one message at a time, each order paid in a transaction of its own,
// acknowledged after its commit. Started by bench/orders.py. Push subscription, durable, manual
// ack, ack wait 30 s, at most 5 deliveries, nak after 5 s.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
)

type order struct {
	ID uuid.UUID `json:"id"`
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
	sub, err := js.Subscribe("orders.>", func(msg *nats.Msg) {
		var o order
		if err := json.Unmarshal(msg.Data, &o); err != nil {
			logger.Error("unmarshal order", "err", err)
			_ = msg.Nak()
			return
		}
		if err := handler.process(ctx, &o); err != nil {
			logger.Error("process order", "id", o.ID, "err", err)
			_ = msg.NakWithDelay(5 * time.Second)
			return
		}
		_ = msg.Ack()
	}, nats.Durable("order-processor"), nats.ManualAck(), nats.AckWait(30*time.Second),
		nats.MaxDeliver(5))
	if err != nil {
		return err
	}
	logger.Info("ready")
	<-ctx.Done()
	return sub.Drain()
}

var errOrderUnknown = errors.New("order not found")

// process pays one order, once: what is decided already is left alone.
func (p *processor) process(ctx context.Context, o *order) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		var from, to uuid.UUID
		var amount int64
		var debtor *string
		var reference, status string
		err := tx.QueryRow(ctx, "SELECT from_id, to_id, amount, debtor, reference, status"+
			" FROM orders WHERE id = $1 FOR UPDATE", o.ID).
			Scan(&from, &to, &amount, &debtor, &reference, &status)
		if errors.Is(err, pgx.ErrNoRows) {
			return errOrderUnknown
		}
		if err != nil || status != "pending" {
			return err
		}
		reason, err := pay(ctx, tx, o.ID, from, to, amount, debtor, reference)
		if err != nil {
			return err
		}
		if reason != "" {
			_, err = tx.Exec(ctx, "UPDATE orders SET status = 'refused', reason = $2,"+
				" decided_at = now() WHERE id = $1", o.ID, reason)
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE orders SET status = 'paid', decided_at = now()"+
			" WHERE id = $1", o.ID)
		return err
	})
}

func pay(ctx context.Context, tx pgx.Tx, id, from, to uuid.UUID, amount int64, debtor *string,
	reference string) (string, error) {
	const lock = "SELECT owner, balance FROM accounts WHERE id = $1 FOR UPDATE"
	const update = "UPDATE accounts SET balance = $2 WHERE id = $1"
	var owner, other string
	var fromBalance, toBalance int64
	if err := tx.QueryRow(ctx, lock, from).Scan(&owner, &fromBalance); err != nil {
		return missing(err)
	}
	if err := tx.QueryRow(ctx, lock, to).Scan(&other, &toBalance); err != nil {
		return missing(err)
	}
	if debtor != nil && *debtor != owner {
		return "not-the-owner", nil
	}
	if fromBalance < amount {
		return "insufficient-balance", nil
	}
	if _, err := tx.Exec(ctx, update, from, fromBalance-amount); err != nil {
		return "", err
	}
	if _, err := tx.Exec(ctx, update, to, toBalance+amount); err != nil {
		return "", err
	}
	_, err := tx.Exec(ctx, "INSERT INTO transfers (id, from_id, to_id, amount, reference,"+
		" from_balance, to_balance, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, now())",
		id, from, to, amount, reference, fromBalance-amount, toBalance+amount)
	return "", err
}

func missing(err error) (string, error) {
	if errors.Is(err, pgx.ErrNoRows) {
		return "account-not-found", nil
	}
	return "", err
}
