-- Entries of blacklists (BLACK-2). The number, prefix or pattern is sealed for 'blacklist/<tenant>/<list>/<index>'; the
-- index is a keyed hash of it. List -1 is the allow-list. Without an end an entry stays for ever.
CREATE TABLE blacklist (
    tenant_id BIGINT NOT NULL,
    list BIGINT NOT NULL,
    entry_index BLOB NOT NULL,
    expires_s BIGINT,
    sealed BLOB NOT NULL,
    PRIMARY KEY (tenant_id, list, entry_index)
);
CREATE INDEX blacklist_expires ON blacklist (expires_s);
