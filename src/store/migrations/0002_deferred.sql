-- What requests asked for while the primary was away stands among the wishes.

-- Where the request came from and what its client calls itself; NULL where a command wants it.
ALTER TABLE wanted ADD COLUMN source {text};
ALTER TABLE wanted ADD COLUMN agent {text};
-- Which gateway has it in hand, and until when.
ALTER TABLE wanted ADD COLUMN taker {text};
ALTER TABLE wanted ADD COLUMN taken BIGINT;
