-- What was removed stays on record: which values, when, and under which policy.

-- One row for each time that values were removed or moved; their number is on record under the
-- name `sweeps` in `newest`.
CREATE TABLE sweeps (
    n INTEGER PRIMARY KEY,
    at INTEGER, policy TEXT, artifacts INTEGER, bytes INTEGER,
    checksum BLOB
);

-- What an artifact was whose bytes were removed. One that was stored anew has a row in
-- `artifacts` again, and that one counts.
CREATE TABLE tombstones (
    digest BLOB PRIMARY KEY, sweep INTEGER, codec TEXT, bytes INTEGER, checksum BLOB
);

-- Packs that are removed or are about to be. Their names never come back, and no commit may say
-- that something is in one of them.
CREATE TABLE condemned (pack TEXT PRIMARY KEY, sweep INTEGER, checksum BLOB);
