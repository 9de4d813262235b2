-- Voicemail. The caller's number is sealed for 'voicemail/<id>/from'; from_index is the keyed hash that a search looks for.
-- The sound is in the file voicemail/<id>.sealed beside this database, sealed for 'voicemail/<id>/sound'.
CREATE TABLE voicemail (
    id BIGINT NOT NULL PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    extension_id BIGINT NOT NULL,
    call_id BIGINT NOT NULL,
    from_index BLOB NOT NULL,
    received_ms BIGINT NOT NULL,
    length_ms BIGINT NOT NULL,
    -- Of the file.
    octets BIGINT NOT NULL,
    -- 1 or 0.
    heard BIGINT NOT NULL,
    sealed BLOB NOT NULL
);
CREATE INDEX voicemail_mailbox ON voicemail (extension_id, id);
CREATE INDEX voicemail_from ON voicemail (from_index);
CREATE INDEX voicemail_received ON voicemail (received_ms);
INSERT INTO counter (name, value) VALUES ('next_voicemail', 1);
