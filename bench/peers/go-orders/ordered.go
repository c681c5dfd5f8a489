package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
)

// spread makes handle run in so many goroutines; the messages of one payer go to the same one, so
// they are handled in their order. What is unfinished at the end is delivered again.
func spread(workers int, handle func(*nats.Msg, *order)) func(*nats.Msg, *order) {
	if workers < 2 {
		return handle
	}
	type job struct {
		msg *nats.Msg
		o   *order
	}
	queues := make([]chan job, workers)
	for i := range queues {
		queues[i] = make(chan job, 64)
		go func() {
			for one := range queues[i] {
				handle(one.msg, one.o)
			}
		}()
	}
	return func(msg *nats.Msg, o *order) {
		// The end of a UUIDv7 is random.
		queues[binary.BigEndian.Uint32(o.From[12:])%uint32(workers)] <- job{msg, o}
	}
}

// processOrdered pays one order, once, with its accounts locked by one statement in the order of
// their ids and everything written by another.
func (p *processor) processOrdered(ctx context.Context, o *order) error {
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
		reason, err := payOrdered(ctx, tx, o.ID, from, to, amount, debtor, reference)
		if err != nil || reason == "" {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE orders SET status = 'refused', reason = $2,"+
			" decided_at = now() WHERE id = $1", o.ID, reason)
		return err
	})
}

func payOrdered(ctx context.Context, tx pgx.Tx, id, from, to uuid.UUID, amount int64,
	debtor *string, reference string) (string, error) {
	const lock = "SELECT owner, balance FROM accounts WHERE id = ANY($1)" +
		" ORDER BY id FOR NO KEY UPDATE"
	const write = "WITH moved AS (UPDATE accounts SET balance = CASE id WHEN $2 THEN $6::bigint" +
		" ELSE $7::bigint END WHERE id IN ($2, $3))," +
		" paid AS (UPDATE orders SET status = 'paid', decided_at = now() WHERE id = $1)" +
		" INSERT INTO transfers (id, from_id, to_id, amount, reference, from_balance, to_balance," +
		" created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, now())"
	rows, err := tx.Query(ctx, lock, []uuid.UUID{from, to})
	if err != nil {
		return "", err
	}
	type account struct {
		Owner   string
		Balance int64
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[account])
	if err != nil {
		return "", err
	}
	if len(found) < 2 {
		return "account-not-found", nil
	}
	payer, payee := found[0], found[1]
	if bytes.Compare(from[:], to[:]) > 0 {
		payer, payee = payee, payer
	}
	if debtor != nil && *debtor != payer.Owner {
		return "not-the-owner", nil
	}
	if payer.Balance < amount {
		return "insufficient-balance", nil
	}
	_, err = tx.Exec(ctx, write, id, from, to, amount, reference, payer.Balance-amount,
		payee.Balance+amount)
	return "", err
}
