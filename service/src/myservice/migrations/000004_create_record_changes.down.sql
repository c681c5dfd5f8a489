DROP TABLE record_changes_floor;
DROP TABLE record_changes;
