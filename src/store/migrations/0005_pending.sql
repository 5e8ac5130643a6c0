-- What is still to be done is one row an RRset. Gateways that share a store no longer claim names before they change them:
-- a row is leased, and the primary compares and swaps.

CREATE TABLE pending (
    name {text} NOT NULL,
    rtype {text} NOT NULL,
    -- The record's data as a zone file shows them; NULL where the RRset goes.
    data {text},
    ttl BIGINT NOT NULL,
    account {text} NOT NULL,
    -- Where the request came from and what its client calls itself; NULL where a command wants it.
    source {text},
    agent {text},
    -- When its request was accepted, by the store's clock; it also tells a row from the one that it replaced.
    accepted BIGINT NOT NULL,
    expires BIGINT,
    -- Which gateway works on it, and until when by the store's clock.
    lease_owner {text},
    lease_until BIGINT,
    PRIMARY KEY (name, rtype)
) {clustered};
CREATE INDEX pending_of_commands ON pending (name, rtype) WHERE source IS NULL;

INSERT INTO pending (name, rtype, data, ttl, account, source, agent, accepted, expires)
    SELECT name, 'A', NULLIF(ipv4, ''), ttl, account, source, agent,
        CASE WHEN asked4 > 0 THEN asked4 ELSE since END, expires FROM wanted WHERE ipv4 IS NOT NULL;
INSERT INTO pending (name, rtype, data, ttl, account, source, agent, accepted, expires)
    SELECT name, 'AAAA', NULLIF(ipv6, ''), ttl, account, source, agent,
        CASE WHEN asked6 > 0 THEN asked6 ELSE since END, expires FROM wanted WHERE ipv6 IS NOT NULL;
DROP TABLE wanted;

ALTER TABLE state DROP COLUMN holder;
ALTER TABLE state DROP COLUMN generation;
ALTER TABLE state DROP COLUMN holder4;
ALTER TABLE state DROP COLUMN holder6;
