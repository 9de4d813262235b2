-- Revisions of what the administrator manages. Plain SQL that PostgreSQL takes as well (BLOB is BYTEA there).
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- Next ids: they are never used twice, whatever is deleted.
CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('next_tenant', 2), ('next_extension', 1), ('next_call', 1);

CREATE TABLE revision (
    id BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    author TEXT NOT NULL,
    comment TEXT NOT NULL,
    rollback_to BIGINT,
    created BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    deleted BIGINT NOT NULL
);

-- The state of each object after each revision that touched it, sealed (it holds secrets); body is NULL where the
-- object was deleted. An object's state at revision N is its last row not after N.
CREATE TABLE history (
    kind TEXT NOT NULL,
    object_id BIGINT NOT NULL,
    revision BIGINT NOT NULL REFERENCES revision (id),
    body BLOB,
    PRIMARY KEY (kind, object_id, revision)
);
CREATE INDEX history_revision ON history (revision);

CREATE TABLE tenant (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- JSON array, in order.
    domains TEXT NOT NULL
);
INSERT INTO tenant (id, name, domains) VALUES (1, 'default', '[]');

CREATE TABLE extension (
    id BIGINT NOT NULL PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenant (id),
    number TEXT NOT NULL,
    name TEXT NOT NULL,
    sip_user TEXT NOT NULL,
    -- Sealed for 'extension/<id>/sip_password'.
    sip_password BLOB NOT NULL,
    srtp TEXT NOT NULL,
    max_calls BIGINT NOT NULL,
    max_contacts BIGINT NOT NULL,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    UNIQUE (tenant_id, number),
    UNIQUE (tenant_id, sip_user)
);
