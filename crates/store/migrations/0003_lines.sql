-- Lines to the world. Numbers of a tenant and what an extension may do are JSON; a line is sealed for 'line/<kind>/<id>'
-- as it holds passwords and numbers: each trunk is a row, the ordered lists of routes and the aliases one each (id 0).
ALTER TABLE tenant ADD COLUMN numbers TEXT NOT NULL DEFAULT '{}';
ALTER TABLE extension ADD COLUMN calling TEXT NOT NULL DEFAULT '{}';
CREATE TABLE line (
    kind TEXT NOT NULL,
    id BIGINT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (kind, id)
);
INSERT INTO counter (name, value) VALUES ('next_trunk', 1);
