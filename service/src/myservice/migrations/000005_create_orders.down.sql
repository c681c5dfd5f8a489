DROP TABLE inbox;
DROP TABLE outbox;
DROP TABLE orders;
DROP FUNCTION keep_decision();
