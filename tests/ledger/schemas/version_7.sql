-- What version 7 of the tables changed in version 6.

CREATE TABLE approvals (
    id INTEGER NOT NULL,
    campaign TEXT NOT NULL,
    base_url TEXT NOT NULL,
    settings TEXT NOT NULL,
    list_fingerprint TEXT NOT NULL,
    run_id INTEGER,
    digest TEXT NOT NULL,
    rows BLOB NOT NULL,
    texts INTEGER NOT NULL,
    segments INTEGER NOT NULL,
    list_file TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    asked_host TEXT NOT NULL,
    asked_at TEXT NOT NULL,
    needed_at TEXT NOT NULL,
    state TEXT NOT NULL,
    approved_by TEXT,
    approved_host TEXT,
    approved_at TEXT,
    refused_by TEXT,
    refused_host TEXT,
    refused_at TEXT,
    reason TEXT,
    PRIMARY KEY (id)
);

CREATE INDEX approvals_by_campaign ON approvals (campaign, base_url);
CREATE UNIQUE INDEX approvals_open ON approvals (campaign, base_url) WHERE state = 'asked';

ALTER TABLE starts ADD COLUMN approval_id INTEGER;

UPDATE meta SET value = '7' WHERE name = 'schema_version';
