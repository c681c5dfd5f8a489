-- What `myservice records import` has stored so far. A chunk's row, its records and its rejects
-- are one transaction, so an import that was killed continues, with nothing doubled.
CREATE TABLE imports (
    id          uuid        PRIMARY KEY,
    fingerprint text        NOT NULL, -- the format and the SHA-256 of the whole file
    file_name   text        NOT NULL,
    chunk_lines int         NOT NULL CHECK (chunk_lines > 0), -- a chunk ends after so many lines
    chunk_bytes int         NOT NULL CHECK (chunk_bytes > 0), -- or with the line that reaches this
    started_at  timestamptz NOT NULL,
    finished_at timestamptz
);

-- A file is imported once at a time.
CREATE UNIQUE INDEX imports_unfinished ON imports (fingerprint) WHERE finished_at IS NULL;

CREATE TABLE import_chunks (
    import_id uuid   NOT NULL REFERENCES imports,
    chunk     int    NOT NULL,
    lines     int    NOT NULL,
    records   int    NOT NULL,
    rejected  int    NOT NULL,
    PRIMARY KEY (import_id, chunk)
);

CREATE TABLE import_rejects (
    import_id uuid   NOT NULL REFERENCES imports,
    line      bigint NOT NULL,
    error     text   NOT NULL,
    content   text   NOT NULL,
    PRIMARY KEY (import_id, line)
);
