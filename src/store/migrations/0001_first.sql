-- One text for both databases. In braces, what each calls in its own way: see schema.rs.
-- Times are milliseconds since the epoch, UTC; names are lower case without the final dot.

CREATE TABLE account (
    login {text} PRIMARY KEY,
    -- One a line, newest first: the digest, and where it expires, a space and when.
    secrets {text} NOT NULL,
    -- The part after "*.", with a space between them.
    wildcards {text} NOT NULL,
    max_hosts BIGINT NOT NULL,
    enabled BIGINT NOT NULL,
    created BIGINT NOT NULL
) {clustered};

CREATE TABLE host (
    name {text} PRIMARY KEY,
    login {text} NOT NULL REFERENCES account ON DELETE RESTRICT,
    ttl BIGINT,
    families {text} NOT NULL CHECK (families IN ('4', '6', '46')),
    description {text} NOT NULL,
    -- The reason, while it is blocked.
    blocked {text},
    created BIGINT NOT NULL
) {clustered};
CREATE INDEX host_login ON host (login, name);

CREATE TABLE token (
    -- SHA-256 of the token, in hexadecimal.
    digest {text} PRIMARY KEY,
    name {text} NOT NULL REFERENCES host ON DELETE CASCADE,
    created BIGINT NOT NULL,
    expires BIGINT
) {clustered};
CREATE INDEX token_name ON token (name);

-- No reference to host: names that the file declares and those below wildcard grants have a state too.
CREATE TABLE state (
    name {text} PRIMARY KEY,
    -- Who last wrote the name's records, and how often that changed.
    holder {text},
    generation BIGINT NOT NULL,
    -- What the primary last acknowledged, and when.
    ipv4 {text},
    ipv6 {text},
    verified BIGINT,
    last_update BIGINT,
    last_seen BIGINT,
    last_outcome {text},
    agent {text},
    source {text}
) {clustered};

CREATE TABLE history (
    id {identity},
    name {text} NOT NULL,
    at BIGINT NOT NULL,
    outcome {text} NOT NULL,
    source {text},
    agent {text},
    -- Addresses with a space between them.
    old {text} NOT NULL,
    new {text} NOT NULL
);
CREATE INDEX history_name ON history (name, at);
CREATE INDEX history_at ON history (at);

-- What the zone shall hold and does not yet. An address that is NULL is left alone, one that is empty goes.
CREATE TABLE wanted (
    name {text} PRIMARY KEY,
    ipv4 {text},
    ipv6 {text},
    ttl BIGINT NOT NULL,
    since BIGINT NOT NULL,
    expires BIGINT,
    account {text} NOT NULL
) {clustered};

-- Names that an account's wildcard grants brought into being.
CREATE TABLE born (
    login {text} NOT NULL,
    name {text} NOT NULL,
    PRIMARY KEY (login, name)
) {clustered};
CREATE INDEX born_name ON born (name);

-- What changed, in the order of the changes, for what gateways keep in memory. It is never empty, so that a reader whose
-- last row is gone knows that he missed something.
CREATE TABLE change (
    id {identity},
    subject {text} NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX change_at ON change (at);
INSERT INTO change (subject, at) VALUES ('', 0);
