CREATE TABLE records (
    id         uuid        PRIMARY KEY,
    -- paceline: fields columns {
    name       text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    metadata   jsonb       NOT NULL,
    data       json        NOT NULL, -- kept as the text that came: jsonb would write 1e300 out in full
    -- paceline: }
    version    bigint      NOT NULL CHECK (version > 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- paceline: only sample {
-- For the listing's filter by prefix: starts_with() can use this operator class.
CREATE INDEX records_name_prefix ON records (name text_pattern_ops);
-- paceline: }
