-- What calls have cost, by the records of the journal: amounts in millionths of the currency's unit.
-- The cost of each call; it comes before the call's own record.
CREATE TABLE cdr_cost (
    call_id BIGINT NOT NULL PRIMARY KEY,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL
);

-- What each account ('tenant', 'extension', 'trunk') has spent on each day of its tenant's calendar (20261127).
CREATE TABLE spent (
    account TEXT NOT NULL,
    account_id BIGINT NOT NULL,
    day BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (account, account_id, day)
);
CREATE INDEX spent_day ON spent (day);
