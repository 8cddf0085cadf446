-- What version 4 of the tables added to version 3.

ALTER TABLE campaigns ADD COLUMN key_region TEXT NOT NULL DEFAULT 'US';

UPDATE meta SET value = '4' WHERE name = 'schema_version';
