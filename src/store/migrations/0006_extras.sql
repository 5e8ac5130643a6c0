-- Settings that few hosts have.

-- The host whose prefix it takes, a host of the store; the bits that it has in that; and where the prefix comes from.
ALTER TABLE host ADD COLUMN follow {text};
ALTER TABLE host ADD COLUMN interface_id {text};
ALTER TABLE host ADD COLUMN prefix_from {text} NOT NULL DEFAULT 'prefix';
-- Whether the wildcard below it has its addresses, a request may remove them, and its PTR records are kept in step.
ALTER TABLE host ADD COLUMN wildcard BIGINT NOT NULL DEFAULT 0;
ALTER TABLE host ADD COLUMN offline BIGINT NOT NULL DEFAULT 0;
ALTER TABLE host ADD COLUMN ptr BIGINT NOT NULL DEFAULT 0;
-- Names with a space between them.
ALTER TABLE host ADD COLUMN mx {text} NOT NULL DEFAULT '';
CREATE INDEX host_follow ON host (follow, name) WHERE follow IS NOT NULL;
