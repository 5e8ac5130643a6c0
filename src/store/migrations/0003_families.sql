-- Two gateways may be told the two families of a name: what is asked for, claimed and answered counts for each by itself.
-- Moments are the store's own here, since the clocks of gateways differ.

-- Who last claimed a family, and when the newest request was accepted that was answered for it.
ALTER TABLE state ADD COLUMN holder4 {text};
ALTER TABLE state ADD COLUMN holder6 {text};
ALTER TABLE state ADD COLUMN settled4 BIGINT;
ALTER TABLE state ADD COLUMN settled6 BIGINT;
-- When the request was accepted that asked for a family; NULL where it is left alone.
ALTER TABLE wanted ADD COLUMN asked4 BIGINT;
ALTER TABLE wanted ADD COLUMN asked6 BIGINT;
-- Before all that is answered from now on.
UPDATE wanted SET asked4 = CASE WHEN ipv4 IS NULL THEN NULL ELSE 0 END,
    asked6 = CASE WHEN ipv6 IS NULL THEN NULL ELSE 0 END;
