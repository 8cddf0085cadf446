-- What version 3 of the tables removed from version 2.

ALTER TABLE campaigns DROP COLUMN created_at;
ALTER TABLE runs DROP COLUMN owner;
ALTER TABLE runs DROP COLUMN lease_until;
ALTER TABLE messages DROP COLUMN lease_until;
ALTER TABLE superseded DROP COLUMN lease_until;

UPDATE meta SET value = '3' WHERE name = 'schema_version';
