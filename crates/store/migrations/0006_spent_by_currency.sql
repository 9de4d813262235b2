-- What was spent is summed by currency: an amount in one is nothing in another. Rows from before have none: they are in
-- that of the tenant's rates.
CREATE TABLE spent_by_currency (
    account TEXT NOT NULL,
    account_id BIGINT NOT NULL,
    day BIGINT NOT NULL,
    currency TEXT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (account, account_id, day, currency)
);
INSERT INTO spent_by_currency (account, account_id, day, currency, amount)
    SELECT account, account_id, day, '', amount FROM spent;
DROP TABLE spent;
ALTER TABLE spent_by_currency RENAME TO spent;
CREATE INDEX spent_day ON spent (day);
