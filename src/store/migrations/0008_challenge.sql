-- Values at which certificate authorities look, and that go by their age.

CREATE TABLE challenge (
    -- The owner name of the TXT record.
    name {text} NOT NULL,
    value {text} NOT NULL,
    account {text} NOT NULL,
    -- When it was presented last, by the store's clock; it tells a row from the one that it replaced.
    presented BIGINT NOT NULL,
    -- From when on a gateway removes it; while one does, when another one may.
    expires BIGINT NOT NULL,
    PRIMARY KEY (name, value)
) {clustered};
CREATE INDEX challenge_expires ON challenge (expires);
