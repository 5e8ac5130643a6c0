-- What is still to be made of the zone, an RRset a row, in place of `wanted`.

CREATE TABLE pending (
    name {text} NOT NULL,
    rtype {text} NOT NULL,
    -- NULL where the RRset shall not exist.
    data {text},
    ttl BIGINT NOT NULL,
    account {text} NOT NULL,
    -- Where the request came from and what its client calls itself; NULL where a command wants it.
    source {text},
    agent {text},
    -- By the store's clock; it tells a row from a newer one of the same RRset.
    accepted BIGINT NOT NULL,
    expires BIGINT,
    -- Which gateway is working on it, and until when at most.
    lease_owner {text},
    lease_until BIGINT,
    PRIMARY KEY (name, rtype)
) {clustered};
CREATE INDEX pending_of_commands ON pending (name, rtype) WHERE source IS NULL;

INSERT INTO pending (name, rtype, data, ttl, account, source, agent, accepted, expires)
SELECT name, 'A', NULLIF(ipv4, ''), ttl, account, source, agent, COALESCE(NULLIF(asked4, 0), since), expires
FROM wanted WHERE ipv4 IS NOT NULL;
INSERT INTO pending (name, rtype, data, ttl, account, source, agent, accepted, expires)
SELECT name, 'AAAA', NULLIF(ipv6, ''), ttl, account, source, agent, COALESCE(NULLIF(asked6, 0), since), expires
FROM wanted WHERE ipv6 IS NOT NULL;
DROP TABLE wanted;

-- Nobody claims a name any longer.
ALTER TABLE state DROP COLUMN holder;
ALTER TABLE state DROP COLUMN generation;
ALTER TABLE state DROP COLUMN holder4;
ALTER TABLE state DROP COLUMN holder6;
