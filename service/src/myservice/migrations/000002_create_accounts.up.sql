CREATE TABLE accounts (
    id         uuid        PRIMARY KEY,
    owner      text        NOT NULL CHECK (char_length(owner) BETWEEN 1 AND 200),
    balance    bigint      NOT NULL CHECK (balance BETWEEN 0 AND 9007199254740991), -- 2^53 - 1: exact in any JSON
    created_at timestamptz NOT NULL
) WITH (fillfactor = 70); -- room for new versions of a row beside it: no index need change

-- The entries of the ledger: each takes `amount` from one account and gives it to another. A credit
-- comes from outside and has no from_id. No foreign keys: a transaction that adds a row has
-- locked both accounts, accounts are never deleted, and a check a row would cost more than the row.
CREATE TABLE transfers (
    id           uuid        PRIMARY KEY,
    from_id      uuid,
    to_id        uuid        NOT NULL,
    amount       bigint      NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    reference    text        NOT NULL CHECK (char_length(reference) <= 200),
    from_balance bigint      CHECK (from_balance >= 0),
    to_balance   bigint      NOT NULL CHECK (to_balance >= amount),
    created_at   timestamptz NOT NULL,
    CHECK (from_id <> to_id),
    CHECK ((from_id IS NULL) = (from_balance IS NULL))
);

-- What a request with an Idempotency-Key came to: a transfer, or why there is none.
CREATE TABLE idempotency_keys (
    subject     text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL, -- SHA-256 of the request: a key is good for one request only
    transfer_id uuid,
    refusal     text, -- the kind of the error, and its text
    detail      text,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (subject, key)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is not possible', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE TRIGGER transfers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER accounts_never_deleted BEFORE DELETE OR TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
