-- Requests with an Idempotency-Key that inserted something, and what they were answered, for
-- APP_IDEMPOTENCY_KEEP. See paceline.postgres.KeyedInserts.
CREATE TABLE idempotency_answers (
    subject     text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL, -- SHA-256 of the request: a key is good for one request only
    answer      bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (subject, key)
);

CREATE INDEX idempotency_answers_by_age ON idempotency_answers (created_at);
