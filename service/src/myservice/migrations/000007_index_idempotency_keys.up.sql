CREATE INDEX CONCURRENTLY idempotency_keys_by_age ON idempotency_keys (created_at);
