-- Names below wildcards are reserved many in a transaction, and counted without being looked through.

ALTER TABLE born RENAME TO reserved;
DROP INDEX born_name;
CREATE INDEX reserved_name ON reserved (name);
-- Which gateway reserved it and may give it back; NULL where it stays.
ALTER TABLE reserved ADD COLUMN gateway {text};
-- How many each account has; whoever reserves one for it locks the row.
CREATE TABLE reserved_count (
    login {text} PRIMARY KEY,
    names BIGINT NOT NULL
) {clustered};
INSERT INTO reserved_count (login, names) SELECT login, COUNT(*) FROM reserved GROUP BY login;
