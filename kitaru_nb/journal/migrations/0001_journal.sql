-- Rows are found through numbers, never through an SQL index: SQLite checksums neither its
-- table pages nor its index pages, and a damaged index hides rows without an error. Every
-- row has a checksum; every list is either a run of numbers without gaps, ended by a count
-- in `head` or `states`, or a chain of `previous…` numbers. A row that should be there and
-- is not is therefore always noticed.

-- One row: the format of this file and a digest of these statements.
CREATE TABLE meta (id INTEGER PRIMARY KEY, format INTEGER, layout BLOB, checksum BLOB);

-- One row: the number of the newest row of each list; `chain` is the newest event's checksum.
CREATE TABLE head (
    id INTEGER PRIMARY KEY,
    executions INTEGER, attempts INTEGER, checkpoints INTEGER, events INTEGER,
    chain BLOB,
    checksum BLOB
);

-- A hash table in 1,024 rows that are all there from the start, so that "not there" can be
-- trusted: for the first 16 bytes of a name's digest, the number of the newest row under
-- that name. Both columns of an empty bucket are empty.
CREATE TABLE newest (bucket INTEGER PRIMARY KEY, entries BLOB, checksum BLOB);
INSERT INTO newest
    WITH RECURSIVE bucket (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM bucket WHERE n < 1023)
    SELECT n, x'', x'' FROM bucket;

-- What never changes about an execution. Times are microseconds since 1970, UTC.
CREATE TABLE executions (
    n INTEGER PRIMARY KEY,
    id TEXT, identity TEXT, identity_digest BLOB, tags TEXT, parent TEXT, started_at INTEGER,
    previous_of_identity INTEGER, previous_of_notebook INTEGER,
    checksum BLOB
);

-- What changes about an execution: one row for each in `executions`.
CREATE TABLE states (
    n INTEGER PRIMARY KEY,
    status TEXT, ended_at INTEGER, reason TEXT, epoch INTEGER, attempt INTEGER,
    spent REAL, cost REAL, tokens INTEGER, saved_cost REAL, saved_duration REAL,
    steps INTEGER, last_step INTEGER, last_event INTEGER,
    checksum BLOB
);

CREATE TABLE attempts (
    n INTEGER PRIMARY KEY,
    execution INTEGER, epoch INTEGER, previous INTEGER, owner TEXT,
    started_at INTEGER, heartbeat_at INTEGER, ended_at INTEGER, status TEXT, reason TEXT,
    checksum BLOB
);

CREATE TABLE checkpoints (
    seq INTEGER PRIMARY KEY,
    execution INTEGER, epoch INTEGER, ordinal INTEGER,
    previous INTEGER, previous_of_key INTEGER, parent INTEGER, origin INTEGER,
    status TEXT, "key" TEXT, started_at INTEGER, duration REAL, cost REAL, tokens INTEGER,
    body TEXT,
    checksum BLOB
);

CREATE TABLE artifacts (digest BLOB PRIMARY KEY, codec TEXT, bytes INTEGER, manifest TEXT, checksum BLOB);

CREATE TABLE extents (
    digest BLOB PRIMARY KEY, length INTEGER, pack TEXT, position INTEGER, data BLOB, checksum BLOB
);

-- `chained` is the checksum of the event before, so that no event can be changed or removed
-- without breaking the chain.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at INTEGER, execution INTEGER, previous INTEGER, kind TEXT, data TEXT, chained BLOB,
    checksum BLOB
);
