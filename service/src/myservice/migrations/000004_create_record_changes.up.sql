-- Every committed change of a record, written in the change's own transaction, for its subscribers
-- (repository/record_changes.py says why reading by (settled, seq) misses nothing). Kept for an hour.
CREATE TABLE record_changes (
    settled     bigint      NOT NULL, -- final once every transaction up to this one has ended
    seq         bigint      GENERATED ALWAYS AS IDENTITY, -- drawn while the record is locked
    kind        text        NOT NULL,
    record_id   uuid        NOT NULL,
    version     bigint      NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    name        text        NOT NULL,
    name_before text, -- if the name changed: subscribers of the old name receive the change, too
    metadata    jsonb, -- from here on null for a deletion
    data        json,
    created_at  timestamptz,
    updated_at  timestamptz,
    PRIMARY KEY (settled, seq)
);

-- The last change that is no longer kept: a subscriber at an earlier position has missed some.
CREATE TABLE record_changes_floor (
    settled bigint NOT NULL,
    seq     bigint NOT NULL
);
INSERT INTO record_changes_floor (settled, seq) VALUES (0, 0);
