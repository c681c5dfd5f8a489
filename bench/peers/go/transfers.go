package main

import (
	"bytes"
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A mover makes a transfer in a transaction. There are two: movePlain, and moveOrdered with
// LOCKS=ordered.
type mover func(ctx context.Context, tx pgx.Tx, subject string, made *transferMade) error

var (
	errNotFound     = errors.New("account not found")
	errNotOwner     = errors.New("the account is somebody else's")
	errInsufficient = errors.New("insufficient balance")
)

const insertTransfer = "INSERT INTO transfers (id, from_id, to_id, amount, reference," +
	" from_balance, to_balance, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"

// movePlain locks "from" and then "to", as it is often written: two opposite transfers can
// deadlock, and the one that PostgreSQL ends is answered with 500.
func movePlain(ctx context.Context, tx pgx.Tx, subject string, made *transferMade) error {
	const lock = "SELECT owner, balance FROM accounts WHERE id = $1 FOR UPDATE"
	const update = "UPDATE accounts SET balance = $2 WHERE id = $1"
	var owner, other string
	var from, to int64
	if err := tx.QueryRow(ctx, lock, made.From).Scan(&owner, &from); err != nil {
		return notFound(err)
	}
	if err := tx.QueryRow(ctx, lock, made.To).Scan(&other, &to); err != nil {
		return notFound(err)
	}
	if err := made.decide(subject, owner, from, to); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, update, made.From, made.FromBalance); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, update, made.To, made.ToBalance); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, insertTransfer, made.ID, made.From, made.To, made.Amount, made.Reference,
		made.FromBalance, made.ToBalance, made.CreatedAt)
	return err
}

// moveOrdered locks both accounts by one statement in the order of their ids, so nothing can
// deadlock, and sends the writes by one: two round trips besides BEGIN and COMMIT.
func moveOrdered(ctx context.Context, tx pgx.Tx, subject string, made *transferMade) error {
	const lock = "SELECT owner, balance FROM accounts WHERE id = ANY($1)" +
		" ORDER BY id FOR NO KEY UPDATE"
	const write = "WITH moved AS (UPDATE accounts SET balance = CASE id WHEN $2 THEN $6::bigint" +
		" ELSE $7::bigint END WHERE id IN ($2, $3)) " + insertTransfer
	rows, err := tx.Query(ctx, lock, []uuid.UUID{made.From, made.To})
	if err != nil {
		return err
	}
	type account struct {
		Owner   string
		Balance int64
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[account])
	if err != nil {
		return err
	}
	if len(found) < 2 {
		return errNotFound
	}
	from, to := found[0], found[1]
	if bytes.Compare(made.From[:], made.To[:]) > 0 {
		from, to = to, from
	}
	if err := made.decide(subject, from.Owner, from.Balance, to.Balance); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, write, made.ID, made.From, made.To, made.Amount, made.Reference,
		made.FromBalance, made.ToBalance, made.CreatedAt)
	return err
}

// decide computes the balances, or says why the transfer is refused.
func (made *transferMade) decide(subject, owner string, from, to int64) error {
	if owner != subject {
		return errNotOwner
	}
	if from < made.Amount {
		return errInsufficient
	}
	made.FromBalance, made.ToBalance = from-made.Amount, to+made.Amount
	return nil
}

func notFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotFound
	}
	return err
}
