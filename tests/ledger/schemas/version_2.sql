-- What version 2 of the tables added to version 1.

CREATE TABLE handovers (
    run_id INTEGER NOT NULL,
    start_id INTEGER NOT NULL,
    base_url TEXT NOT NULL,
    settings TEXT NOT NULL,
    open BOOLEAN NOT NULL,
    stopped_because TEXT,
    PRIMARY KEY (run_id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
);

CREATE TABLE paces (
    run_id INTEGER NOT NULL,
    configured_rate DOUBLE NOT NULL,
    rate DOUBLE NOT NULL,
    next_slot DOUBLE NOT NULL,
    paused_until DOUBLE NOT NULL,
    slowed_at DOUBLE NOT NULL,
    PRIMARY KEY (run_id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
);

CREATE TABLE leases (
    owner TEXT NOT NULL,
    run_id INTEGER,
    base_url TEXT NOT NULL,
    holder TEXT NOT NULL,
    worker BOOLEAN NOT NULL,
    lease_until DOUBLE NOT NULL,
    PRIMARY KEY (owner)
);

CREATE INDEX leases_by_run ON leases (run_id);

INSERT INTO handovers VALUES (2, 3, 'https://api.example.com', '{"rate": 10}', true, NULL);
INSERT INTO paces VALUES (2, 10, 5, 1762182001.5, 0, 1762182000.5);
INSERT INTO leases VALUES ('process-1', 2, 'https://api.example.com', 'front-desk-4711', false, 1762182030.5);

UPDATE meta SET value = '2' WHERE name = 'schema_version';
