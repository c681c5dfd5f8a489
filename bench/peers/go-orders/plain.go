package main

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

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
