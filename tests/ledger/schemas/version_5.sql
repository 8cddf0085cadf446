-- What version 5 of the tables added to version 4.

ALTER TABLE messages ADD COLUMN phone_hash TEXT;
ALTER TABLE superseded ADD COLUMN phone_hash TEXT;

UPDATE meta SET value = '5' WHERE name = 'schema_version';
