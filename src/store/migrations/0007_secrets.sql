-- An account is found by its generated secret alone: many clients send a secret and no login.

CREATE TABLE account_secret (
    -- As in `account`, where it also says until when it serves.
    digest {text} NOT NULL,
    login {text} NOT NULL REFERENCES account ON DELETE CASCADE,
    PRIMARY KEY (digest, login)
) {clustered};
CREATE INDEX account_secret_login ON account_secret (login);

-- One a line, perhaps with a space and the time of its end.
INSERT INTO account_secret (digest, login)
    WITH RECURSIVE line (login, digest, rest) AS (
        SELECT login, SUBSTR(secrets, 1, 0), secrets || '
' FROM account
        UNION ALL
        SELECT login, SUBSTR(rest, 1, {position}(rest, '
') - 1), SUBSTR(rest, {position}(rest, '
') + 1) FROM line WHERE {position}(rest, '
') > 0
    )
    SELECT DISTINCT SUBSTR(digest, 1, 52), login FROM line WHERE digest LIKE '$sha256$%';
