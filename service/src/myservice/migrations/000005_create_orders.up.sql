-- paceline: only full {
-- Payments that are requested and made a moment later. An order is paid by the transfer with its own id, so
-- the primary key of transfers makes a second payment impossible. No foreign keys, as for transfers.
CREATE TABLE orders (
    id          uuid        PRIMARY KEY,
    placed_by   text        NOT NULL,
    debtor      text, -- the required owner of from_id when it is paid; NULL when an operator placed it
    from_id     uuid        NOT NULL,
    to_id       uuid        NOT NULL,
    amount      bigint      NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    reference   text        NOT NULL CHECK (char_length(reference) <= 200),
    created_at  timestamptz NOT NULL,
    key         text, -- the Idempotency-Key it was placed with, and the request that it is good for
    fingerprint bytea,
    status      text        NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'paid', 'refused')),
    reason      text,
    decided_at  timestamptz,
    CHECK (from_id <> to_id),
    CHECK ((key IS NULL) = (fingerprint IS NULL)),
    CHECK ((status = 'refused') = (reason IS NOT NULL)),
    CHECK ((status = 'pending') = (decided_at IS NULL))
) WITH (fillfactor = 80); -- room for the decision beside it: no index need change

CREATE UNIQUE INDEX orders_key ON orders (placed_by, key) WHERE key IS NOT NULL;

CREATE FUNCTION keep_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'order % is % already', OLD.id, OLD.status USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE TRIGGER orders_decided_once BEFORE UPDATE ON orders
    FOR EACH ROW WHEN (OLD.status <> 'pending') EXECUTE FUNCTION keep_decision();
CREATE TRIGGER orders_never_deleted BEFORE DELETE OR TRUNCATE ON orders
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- paceline: }
-- Messages to be published, written with the change that they report. See paceline.postgres.outbox.
CREATE TABLE outbox (
    position   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         text        NOT NULL,
    subject    text        NOT NULL,
    key        text        NOT NULL,
    data       bytea       NOT NULL,
    headers    json        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    attempts   int         NOT NULL DEFAULT 0,
    retry_at   timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

CREATE INDEX outbox_failed ON outbox (key) WHERE retry_at IS NOT NULL;

-- Messages that have had their effect. See paceline.postgres.inbox.
CREATE TABLE inbox (
    consumer   text        NOT NULL,
    id         text        NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (consumer, id)
);

CREATE INDEX inbox_by_age ON inbox (claimed_at);
