-- +goose Up

-- Every table begins with team_id, and every query names it.

CREATE TABLE roster_statement (
    team_id TEXT    NOT NULL,
    seq     INTEGER NOT NULL CHECK (seq >= 0),
    hash    BLOB    NOT NULL CHECK (length(hash) = 32),
    bytes   BLOB    NOT NULL,
    PRIMARY KEY (team_id, seq)
) STRICT;

CREATE TABLE target (
    team_id    TEXT    NOT NULL,
    kid        BLOB    NOT NULL CHECK (length(kid) = 32),
    name       TEXT    NOT NULL,
    tags       BLOB    NOT NULL,
    login_user TEXT    NOT NULL,
    exp        INTEGER NOT NULL,
    PRIMARY KEY (team_id, kid),
    UNIQUE (team_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE replay (
    team_id TEXT    NOT NULL,
    signer  BLOB    NOT NULL CHECK (length(signer) = 32),
    jti     BLOB    NOT NULL,
    exp     INTEGER NOT NULL,
    PRIMARY KEY (team_id, signer, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX replay_exp ON replay (team_id, exp);

CREATE TABLE approval (
    team_id    TEXT    NOT NULL,
    number     INTEGER NOT NULL,
    id         BLOB    NOT NULL CHECK (length(id) = 16),
    version    INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    operator   BLOB    NOT NULL,
    agent      BLOB    NOT NULL,
    session_id BLOB    NOT NULL,
    created    INTEGER NOT NULL,
    ask_until  INTEGER NOT NULL,
    body       BLOB    NOT NULL,
    PRIMARY KEY (team_id, number),
    UNIQUE (team_id, id)
) STRICT;
CREATE INDEX approval_state ON approval (team_id, state, number);
CREATE INDEX approval_operator ON approval (team_id, operator, number);
CREATE INDEX approval_agent ON approval (team_id, agent, number);
CREATE INDEX approval_due ON approval (team_id, state, ask_until, number);

CREATE TABLE session (
    team_id    TEXT    NOT NULL,
    number     INTEGER NOT NULL,
    id         BLOB    NOT NULL CHECK (length(id) = 16),
    version    INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    operator   BLOB    NOT NULL,
    agent      BLOB    NOT NULL,
    proof_hash BLOB    NOT NULL,
    created    INTEGER NOT NULL,
    ends_by    INTEGER NOT NULL,
    body       BLOB    NOT NULL,
    PRIMARY KEY (team_id, number),
    UNIQUE (team_id, id)
) STRICT;
CREATE INDEX session_state ON session (team_id, state, number);
CREATE INDEX session_operator ON session (team_id, operator, number);
CREATE INDEX session_agent ON session (team_id, agent, number);
CREATE INDEX session_due ON session (team_id, state, ends_by, number);

CREATE TABLE audit_entry (
    team_id TEXT    NOT NULL,
    idx     INTEGER NOT NULL CHECK (idx >= 0),
    bytes   BLOB    NOT NULL,
    PRIMARY KEY (team_id, idx)
) STRICT;

-- Node hashes by their stored index (golang.org/x/mod/sumdb/tlog).
CREATE TABLE audit_hash (
    team_id TEXT    NOT NULL,
    idx     INTEGER NOT NULL CHECK (idx >= 0),
    hash    BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (team_id, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_head (
    team_id TEXT    NOT NULL,
    size    INTEGER NOT NULL,
    note    BLOB    NOT NULL,
    PRIMARY KEY (team_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_chain (
    team_id TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    signer  BLOB    NOT NULL CHECK (length(signer) = 32),
    seq     INTEGER NOT NULL,
    hash    BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (team_id, name, signer)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE audit_chain;
DROP TABLE audit_head;
DROP TABLE audit_hash;
DROP TABLE audit_entry;
DROP TABLE session;
DROP TABLE approval;
DROP TABLE replay;
DROP TABLE target;
DROP TABLE roster_statement;
