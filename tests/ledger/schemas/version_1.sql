-- A ledger as version 1 of the tables wrote it. On PostgreSQL, `id INTEGER` is `id SERIAL`.

CREATE TABLE campaigns (
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    base_url TEXT NOT NULL,
    key_columns TEXT NOT NULL,
    file TEXT NOT NULL,
    host TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (name, base_url)
);

CREATE TABLE meta (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE optouts (
    id INTEGER NOT NULL,
    customer_uuid TEXT NOT NULL,
    phone TEXT NOT NULL,
    base_url TEXT NOT NULL,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    os_user TEXT NOT NULL,
    host TEXT NOT NULL,
    added_at TEXT NOT NULL,
    removed_at TEXT,
    removed_by TEXT,
    removed_because TEXT,
    PRIMARY KEY (id)
);

CREATE INDEX optouts_by_phone ON optouts (phone);

CREATE UNIQUE INDEX optouts_once ON optouts (customer_uuid, phone, base_url) WHERE removed_at IS NULL;

CREATE TABLE planned_starts (
    campaign TEXT NOT NULL,
    base_url TEXT NOT NULL,
    planned_at TEXT NOT NULL,
    outcome TEXT NOT NULL,
    claimed_at TEXT NOT NULL,
    host TEXT NOT NULL,
    process INTEGER NOT NULL,
    ended_at TEXT,
    exit_code INTEGER,
    PRIMARY KEY (campaign, base_url, planned_at)
);

CREATE TABLE schedules (
    campaign TEXT NOT NULL,
    base_url TEXT NOT NULL,
    schedule TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (campaign, base_url)
);

CREATE TABLE superseded (
    run_id INTEGER NOT NULL,
    "row" INTEGER NOT NULL,
    campaign_id INTEGER NOT NULL,
    "key" TEXT,
    customer_uuid TEXT,
    department_uuid TEXT,
    user_uuid TEXT,
    phone TEXT,
    body TEXT,
    segments INTEGER,
    encoding TEXT,
    clock TEXT,
    cells TEXT NOT NULL,
    status TEXT NOT NULL,
    codes TEXT NOT NULL,
    descriptions TEXT NOT NULL,
    warning_codes TEXT,
    message_uuid TEXT,
    request_uuid TEXT,
    api_status TEXT,
    http_status INTEGER,
    attempts INTEGER NOT NULL,
    sent_at TEXT,
    latency_ms INTEGER,
    start_id INTEGER,
    earlier_run INTEGER,
    generation INTEGER NOT NULL,
    resend TEXT,
    owner TEXT,
    lease_until TEXT,
    delivery_at TEXT,
    delivery_status TEXT,
    purged_at TEXT,
    superseded_at TEXT NOT NULL,
    PRIMARY KEY (run_id, "row", generation)
);

CREATE INDEX superseded_by_customer ON superseded (customer_uuid);

CREATE INDEX superseded_by_key ON superseded (campaign_id, "key");

CREATE INDEX superseded_by_uuid ON superseded (message_uuid);

CREATE TABLE updates (
    digest TEXT NOT NULL,
    received_at TEXT NOT NULL,
    raw TEXT NOT NULL,
    message_uuid TEXT,
    status TEXT,
    codes TEXT NOT NULL,
    descriptions TEXT NOT NULL,
    run_id INTEGER,
    "row" INTEGER,
    generation INTEGER,
    PRIMARY KEY (digest)
);

CREATE INDEX updates_by_time ON updates (received_at);

CREATE INDEX updates_by_uuid ON updates (message_uuid);

CREATE TABLE runs (
    id INTEGER NOT NULL,
    campaign_id INTEGER NOT NULL,
    list_fingerprint TEXT NOT NULL,
    list_file TEXT NOT NULL,
    list_saved_at TEXT NOT NULL,
    headers TEXT NOT NULL,
    zone TEXT NOT NULL,
    about TEXT NOT NULL,
    created_at TEXT NOT NULL,
    stop_requested_at TEXT,
    owner TEXT,
    lease_until TEXT,
    PRIMARY KEY (id),
    FOREIGN KEY(campaign_id) REFERENCES campaigns (id)
);

CREATE INDEX runs_by_campaign ON runs (campaign_id);

CREATE TABLE messages (
    run_id INTEGER NOT NULL,
    "row" INTEGER NOT NULL,
    campaign_id INTEGER NOT NULL,
    "key" TEXT,
    customer_uuid TEXT,
    department_uuid TEXT,
    user_uuid TEXT,
    phone TEXT,
    body TEXT,
    segments INTEGER,
    encoding TEXT,
    clock TEXT,
    cells TEXT NOT NULL,
    status TEXT NOT NULL,
    codes TEXT NOT NULL,
    descriptions TEXT NOT NULL,
    warning_codes TEXT,
    message_uuid TEXT,
    request_uuid TEXT,
    api_status TEXT,
    http_status INTEGER,
    attempts INTEGER NOT NULL,
    sent_at TEXT,
    latency_ms INTEGER,
    start_id INTEGER,
    earlier_run INTEGER,
    generation INTEGER NOT NULL,
    resend TEXT,
    owner TEXT,
    lease_until TEXT,
    delivery_at TEXT,
    delivery_status TEXT,
    purged_at TEXT,
    PRIMARY KEY (run_id, "row"),
    FOREIGN KEY(run_id) REFERENCES runs (id)
);

CREATE INDEX messages_by_customer ON messages (customer_uuid);

CREATE INDEX messages_by_key ON messages (campaign_id, "key");

CREATE INDEX messages_by_uuid ON messages (message_uuid);

CREATE TABLE starts (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    os_user TEXT NOT NULL,
    host TEXT NOT NULL,
    version TEXT NOT NULL,
    campaign_file TEXT NOT NULL,
    campaign_sha256 TEXT NOT NULL,
    list_file TEXT NOT NULL,
    list_sha256 TEXT NOT NULL,
    template_file TEXT NOT NULL,
    template_sha256 TEXT NOT NULL,
    resend TEXT,
    exit_code INTEGER,
    ending TEXT,
    PRIMARY KEY (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
);

CREATE INDEX starts_by_run ON starts (run_id);

INSERT INTO meta VALUES ('schema_version', '1');
INSERT INTO meta VALUES ('ledger_id', '0f9b6c1d2e3a4f5b8c7d6e5f4a3b2c1d');

INSERT INTO campaigns (name, base_url, key_columns, file, host, created_at)
VALUES ('Winter tires', 'https://api.example.com', '["Customer ID"]', '/campaigns/winter.toml', 'front-desk',
    '2025-10-06T15:00:00.000Z');

INSERT INTO runs (campaign_id, list_fingerprint, list_file, list_saved_at, headers, zone, about, created_at,
    stop_requested_at)
VALUES (1, 'first list', '/campaigns/october.csv', '2025-10-06T14:00:00.000Z', '["Customer ID", "Mobile"]',
    'America/Chicago', '{"campaign": "Winter tires"}', '2025-10-06T15:00:00.000Z', NULL);
INSERT INTO runs (campaign_id, list_fingerprint, list_file, list_saved_at, headers, zone, about, created_at,
    stop_requested_at)
VALUES (1, 'second list', '/campaigns/november.csv', '2025-11-03T14:00:00.000Z', '["Customer ID", "Mobile"]',
    'America/Chicago', '{"campaign": "Winter tires"}', '2025-11-03T15:00:00.000Z', '2025-11-03T15:00:09.000Z');

INSERT INTO starts (run_id, started_at, ended_at, os_user, host, version, campaign_file, campaign_sha256, list_file,
    list_sha256, template_file, template_sha256, resend, exit_code, ending)
VALUES (1, '2025-10-06T15:00:00.000Z', '2025-10-06T15:00:05.000Z', 'ann', 'front-desk', '0.1.0',
    '/campaigns/winter.toml', 'c1', '/campaigns/october.csv', 'l1', '/campaigns/winter.txt', 't1', NULL, 1, 'done');
INSERT INTO starts (run_id, started_at, ended_at, os_user, host, version, campaign_file, campaign_sha256, list_file,
    list_sha256, template_file, template_sha256, resend, exit_code, ending)
VALUES (1, '2025-10-07T15:00:00.000Z', '2025-10-07T15:00:01.000Z', 'bob', 'front-desk', '0.1.0',
    '/campaigns/winter.toml', 'c1', '/campaigns/october.csv', 'l1', '/campaigns/winter.txt', 't2', 'failed', 0,
    'done');
INSERT INTO starts (run_id, started_at, ended_at, os_user, host, version, campaign_file, campaign_sha256, list_file,
    list_sha256, template_file, template_sha256, resend, exit_code, ending)
VALUES (2, '2025-11-03T15:00:00.000Z', NULL, 'ann', 'front-desk', '0.1.0', '/campaigns/winter.toml', 'c2',
    '/campaigns/november.csv', 'l2', '/campaigns/winter.txt', 't2', NULL, NULL, NULL);

-- A text that a later update reported as delivered.
INSERT INTO messages (run_id, "row", campaign_id, "key", customer_uuid, department_uuid, user_uuid, phone, body,
    segments, encoding, clock, cells, status, codes, descriptions, warning_codes, message_uuid, request_uuid,
    api_status, http_status, attempts, sent_at, latency_ms, start_id, generation, delivery_at, delivery_status)
VALUES (1, 2, 1, 'alpha', 'alpha', 'department', 'user', '+13125550102', 'Hi Alpha', 1, 'GSM-7', 'America/Chicago',
    '["alpha", "312-555-0102"]', 'delivered', '', '', 'LONG_BODY', 'message-1', 'request-1', 'SUCCESS', 200, 2,
    '2025-10-06T15:00:01.000Z', 120, 1, 0, '2025-10-06T15:00:30.000Z', 'delivered');
-- A row that `--resend failed` sent again.
INSERT INTO messages (run_id, "row", campaign_id, "key", customer_uuid, department_uuid, user_uuid, phone, body,
    segments, encoding, cells, status, codes, descriptions, message_uuid, attempts, sent_at, start_id, generation,
    resend)
VALUES (1, 3, 1, 'beta', 'beta', 'department', 'user', '+13125550103', 'Hi Beta', 1, 'GSM-7',
    '["beta", "312-555-0103"]', 'accepted', '', '', 'message-3', 2, '2025-10-07T15:00:01.000Z', 2, 1, 'failed');
INSERT INTO superseded (run_id, "row", campaign_id, "key", customer_uuid, department_uuid, user_uuid, phone, body,
    segments, encoding, cells, status, codes, descriptions, http_status, attempts, sent_at, start_id, generation,
    superseded_at)
VALUES (1, 3, 1, 'beta', 'beta', 'department', 'user', '+13125550103', 'Hi Beta!', 1, 'GSM-7',
    '["beta", "312-555-0103"]', 'failed', 'INVALID_PHONE_NUMBER', 'no such number', 200, 1,
    '2025-10-06T15:00:02.000Z', 1, 0, '2025-10-07T15:00:00.000Z');
-- A purged row.
INSERT INTO messages (run_id, "row", campaign_id, "key", customer_uuid, cells, status, codes, descriptions, attempts,
    generation, purged_at)
VALUES (1, 4, 1, 'gamma', 'gamma', '[]', 'skipped', 'NO_CONSENT', '', 0, 0, '2025-12-01T00:00:00.000Z');
-- The second run: a text of the first one counts, one request was in flight when the process was killed, one waits.
INSERT INTO messages (run_id, "row", campaign_id, "key", customer_uuid, cells, status, codes, descriptions,
    message_uuid, attempts, sent_at, start_id, earlier_run, generation)
VALUES (2, 2, 1, 'alpha', 'alpha', '["alpha", "312-555-0102"]', 'skipped', 'ALREADY_SENT', '', 'message-1', 0,
    '2025-10-06T15:00:01.000Z', NULL, 1, 0);
INSERT INTO messages (run_id, "row", campaign_id, "key", customer_uuid, department_uuid, user_uuid, phone, body,
    segments, encoding, cells, status, codes, descriptions, attempts, sent_at, start_id, generation, owner)
VALUES (2, 3, 1, 'delta', 'delta', 'department', 'user', '+13125550104', 'Hi Delta', 1, 'GSM-7',
    '["delta", "312-555-0104"]', 'in_flight', 'STOPPED', '', 0, '2025-11-03T15:00:01.000Z', 3, 0, 'process-1');
INSERT INTO messages (run_id, "row", campaign_id, "key", customer_uuid, department_uuid, user_uuid, phone, body,
    segments, encoding, cells, status, codes, descriptions, attempts, generation)
VALUES (2, 4, 1, 'epsilon', 'epsilon', 'department', 'user', NULL, 'Hi Epsilon', 1, 'GSM-7', '["epsilon", ""]',
    'pending', 'STOPPED', '', 0, 0);

INSERT INTO updates (digest, received_at, raw, message_uuid, status, codes, descriptions, run_id, "row", generation)
VALUES ('d1', '2025-10-06T15:00:30.000Z', '{"deliveryStatus": "DELIVERED"}', 'message-1', 'delivered', '', '', 1, 2,
    0);
INSERT INTO schedules
VALUES ('Winter tires', 'https://api.example.com', '0 10 * * MON', '2025-10-01T00:00:00.000Z');
INSERT INTO planned_starts
VALUES ('Winter tires', 'https://api.example.com', '2025-10-06T15:00:00.000Z', 'started', '2025-10-06T15:00:00.000Z',
    'front-desk', 4711, '2025-10-06T15:00:06.000Z', 1);
INSERT INTO optouts (customer_uuid, phone, base_url, reason, source, os_user, host, added_at, removed_at, removed_by,
    removed_because)
VALUES ('zeta', '', '', 'called us', 'added', 'ann', 'front-desk', '2025-09-01T00:00:00.000Z',
    '2025-09-02T00:00:00.000Z', 'bob on front-desk', 'called again');
INSERT INTO optouts (customer_uuid, phone, base_url, reason, source, os_user, host, added_at)
VALUES ('zeta', '+13125550106', '', 'Winter tires, run 1, row 9', 'answer', 'ann', 'front-desk',
    '2025-10-06T15:00:03.000Z');
