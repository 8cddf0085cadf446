-- What version 6 of the tables changed in version 5. Leases are taken anew.

DROP TABLE leases;

CREATE TABLE leases (
    owner TEXT NOT NULL,
    run_id INTEGER,
    lock_name TEXT,
    base_url TEXT NOT NULL,
    holder TEXT NOT NULL,
    worker BOOLEAN NOT NULL,
    lease_until DOUBLE NOT NULL,
    accepted INTEGER DEFAULT 0 NOT NULL,
    failed INTEGER DEFAULT 0 NOT NULL,
    unconfirmed INTEGER DEFAULT 0 NOT NULL,
    skipped INTEGER DEFAULT 0 NOT NULL,
    PRIMARY KEY (owner)
);

CREATE INDEX leases_by_run ON leases (run_id);
CREATE UNIQUE INDEX leases_by_lock ON leases (lock_name);

ALTER TABLE handovers ADD COLUMN accepted INTEGER DEFAULT 0 NOT NULL;
ALTER TABLE handovers ADD COLUMN failed INTEGER DEFAULT 0 NOT NULL;
ALTER TABLE handovers ADD COLUMN unconfirmed INTEGER DEFAULT 0 NOT NULL;
ALTER TABLE handovers ADD COLUMN skipped INTEGER DEFAULT 0 NOT NULL;

ALTER TABLE planned_starts DROP COLUMN host;
ALTER TABLE planned_starts DROP COLUMN process;

UPDATE meta SET value = '6' WHERE name = 'schema_version';
