-- What version 8 of the tables changed in version 7.

CREATE TABLE dismissals (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    status TEXT NOT NULL,
    codes TEXT NOT NULL,
    reason TEXT NOT NULL,
    dismissed_by TEXT NOT NULL,
    dismissed_at TEXT NOT NULL,
    restored_by TEXT,
    restored_at TEXT,
    PRIMARY KEY (id)
);

CREATE INDEX dismissals_by_run ON dismissals (run_id);

CREATE TABLE dismissed_rows (
    dismissal_id INTEGER NOT NULL REFERENCES dismissals (id),
    row INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (dismissal_id, row)
);

ALTER TABLE runs ADD COLUMN stop_requested_by TEXT;
ALTER TABLE runs ADD COLUMN given_up_at TEXT;
ALTER TABLE runs ADD COLUMN given_up_by TEXT;
ALTER TABLE runs ADD COLUMN waits_until TEXT;
ALTER TABLE runs ADD COLUMN waits_because TEXT;

UPDATE meta SET value = '8' WHERE name = 'schema_version';
