DROP TABLE inbox;
DROP TABLE outbox;
-- paceline: only full {
DROP TABLE orders;
DROP FUNCTION keep_decision();
-- paceline: }
