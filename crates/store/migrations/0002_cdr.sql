-- Call detail records (CALL-10). Whatever names a person (numbers, names, addresses, words of the peers) is in `sealed`;
-- the blind indexes are keyed hashes of the canonical numbers and are all that a search can see.
CREATE TABLE cdr (
    call_id BIGINT NOT NULL PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    profile TEXT NOT NULL,
    context TEXT NOT NULL,
    from_extension BIGINT,
    to_extension BIGINT,
    caller_index BLOB NOT NULL,
    callee_index BLOB NOT NULL,
    started_ms BIGINT NOT NULL,
    ringing_ms BIGINT,
    answered_ms BIGINT,
    ended_ms BIGINT,
    status BIGINT NOT NULL,
    cause TEXT,
    rule TEXT,
    sealed BLOB NOT NULL
);
CREATE INDEX cdr_started ON cdr (started_ms, call_id);
CREATE INDEX cdr_caller ON cdr (caller_index, started_ms);
CREATE INDEX cdr_callee ON cdr (callee_index, started_ms);
CREATE INDEX cdr_from_extension ON cdr (from_extension, started_ms);
CREATE INDEX cdr_to_extension ON cdr (to_extension, started_ms);

-- One row for each direction of each stream of a call, numbered as reported. Comes after the record it belongs to.
CREATE TABLE cdr_quality (
    call_id BIGINT NOT NULL,
    position BIGINT NOT NULL,
    sender TEXT NOT NULL,
    kind TEXT NOT NULL,
    packets BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    jitter_ms DOUBLE PRECISION NOT NULL,
    rtt_ms DOUBLE PRECISION,
    mos DOUBLE PRECISION,
    -- JSON array of [reason, packets].
    drops TEXT NOT NULL,
    PRIMARY KEY (call_id, position)
);

-- How far the journal has been read into the tables above; moves in the same transaction as they do.
CREATE TABLE journal_position (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    segment BIGINT NOT NULL,
    byte_offset BIGINT NOT NULL
);
INSERT INTO journal_position (id, segment, byte_offset) VALUES (1, 0, 0);
