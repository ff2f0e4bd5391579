-- +goose Up

-- Every table begins with team_id, and every query names it. Behind that stands a
-- second wall: a row is seen and written only by a transaction that has said whose
-- data it works on (tucdesk.team), also by the tables' owner (FORCE). What has been
-- recorded can't be changed or removed by the daemon: it is not granted.
-- Text is compared by its bytes ("C"), as SQLite does.

CREATE TABLE roster_statement (
    team_id TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    seq     BIGINT NOT NULL CHECK (seq >= 0),
    hash    BYTEA  NOT NULL CHECK (length(hash) = 32),
    bytes   BYTEA  NOT NULL,
    PRIMARY KEY (team_id, seq)
);
CREATE INDEX roster_genesis ON roster_statement (team_id) WHERE seq = 0;
GRANT SELECT, INSERT ON roster_statement TO tucdesk_daemon;
ALTER TABLE roster_statement ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON roster_statement USING (team_id = current_setting('tucdesk.team', true));
-- Which teams there are, for work that goes through all of them.
CREATE POLICY all_teams ON roster_statement FOR SELECT USING (seq = 0 AND current_setting('tucdesk.all_teams', true) = 'on');

CREATE TABLE target (
    team_id    TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    kid        BYTEA  NOT NULL CHECK (length(kid) = 32),
    name       TEXT COLLATE "C" NOT NULL,
    tags       BYTEA  NOT NULL,
    login_user TEXT COLLATE "C" NOT NULL,
    exp        BIGINT NOT NULL,
    PRIMARY KEY (team_id, kid),
    UNIQUE (team_id, name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON target TO tucdesk_daemon;
ALTER TABLE target ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON target USING (team_id = current_setting('tucdesk.team', true));

CREATE TABLE replay (
    team_id TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    signer  BYTEA  NOT NULL CHECK (length(signer) = 32),
    jti     BYTEA  NOT NULL,
    exp     BIGINT NOT NULL,
    PRIMARY KEY (team_id, signer, jti)
);
CREATE INDEX replay_exp ON replay (team_id, exp);
GRANT SELECT, INSERT, DELETE ON replay TO tucdesk_daemon;
ALTER TABLE replay ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON replay USING (team_id = current_setting('tucdesk.team', true));

CREATE TABLE approval (
    team_id    TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    number     BIGINT NOT NULL,
    id         BYTEA  NOT NULL CHECK (length(id) = 16),
    version    BIGINT NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    operator   BYTEA  NOT NULL,
    agent      BYTEA  NOT NULL,
    session_id BYTEA  NOT NULL,
    created    BIGINT NOT NULL,
    ask_until  BIGINT NOT NULL,
    body       BYTEA  NOT NULL,
    PRIMARY KEY (team_id, number),
    UNIQUE (team_id, id)
);
CREATE INDEX approval_state ON approval (team_id, state, number);
CREATE INDEX approval_operator ON approval (team_id, operator, number);
CREATE INDEX approval_agent ON approval (team_id, agent, number);
CREATE INDEX approval_due ON approval (team_id, state, ask_until, number);
GRANT SELECT, INSERT, UPDATE ON approval TO tucdesk_daemon;
ALTER TABLE approval ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON approval USING (team_id = current_setting('tucdesk.team', true));

CREATE TABLE session (
    team_id    TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    number     BIGINT NOT NULL,
    id         BYTEA  NOT NULL CHECK (length(id) = 16),
    version    BIGINT NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    operator   BYTEA  NOT NULL,
    agent      BYTEA  NOT NULL,
    proof_hash BYTEA  NOT NULL,
    created    BIGINT NOT NULL,
    ends_by    BIGINT NOT NULL,
    body       BYTEA  NOT NULL,
    PRIMARY KEY (team_id, number),
    UNIQUE (team_id, id)
);
CREATE INDEX session_state ON session (team_id, state, number);
CREATE INDEX session_operator ON session (team_id, operator, number);
CREATE INDEX session_agent ON session (team_id, agent, number);
CREATE INDEX session_due ON session (team_id, state, ends_by, number);
GRANT SELECT, INSERT, UPDATE ON session TO tucdesk_daemon;
ALTER TABLE session ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON session USING (team_id = current_setting('tucdesk.team', true));

CREATE TABLE audit_entry (
    team_id TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    idx     BIGINT NOT NULL CHECK (idx >= 0),
    bytes   BYTEA  NOT NULL,
    PRIMARY KEY (team_id, idx)
);
GRANT SELECT, INSERT ON audit_entry TO tucdesk_daemon;
ALTER TABLE audit_entry ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON audit_entry USING (team_id = current_setting('tucdesk.team', true));

-- Node hashes by their stored index (golang.org/x/mod/sumdb/tlog).
CREATE TABLE audit_hash (
    team_id TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    idx     BIGINT NOT NULL CHECK (idx >= 0),
    hash    BYTEA  NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (team_id, idx)
);
GRANT SELECT, INSERT ON audit_hash TO tucdesk_daemon;
ALTER TABLE audit_hash ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON audit_hash USING (team_id = current_setting('tucdesk.team', true));

CREATE TABLE audit_head (
    team_id TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    size    BIGINT NOT NULL,
    note    BYTEA  NOT NULL,
    PRIMARY KEY (team_id)
);
GRANT SELECT, INSERT, UPDATE ON audit_head TO tucdesk_daemon;
ALTER TABLE audit_head ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON audit_head USING (team_id = current_setting('tucdesk.team', true));

CREATE TABLE audit_chain (
    team_id TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    name    TEXT COLLATE "C" NOT NULL,
    signer  BYTEA  NOT NULL CHECK (length(signer) = 32),
    seq     BIGINT NOT NULL,
    hash    BYTEA  NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (team_id, name, signer)
);
GRANT SELECT, INSERT, UPDATE ON audit_chain TO tucdesk_daemon;
ALTER TABLE audit_chain ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON audit_chain USING (team_id = current_setting('tucdesk.team', true));

-- One row for each team, which says nothing: whoever holds its lock is the team's
-- only writer.
CREATE TABLE writer (
    team_id TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    PRIMARY KEY (team_id)
);
GRANT SELECT, INSERT, UPDATE ON writer TO tucdesk_daemon;
ALTER TABLE writer ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON writer USING (team_id = current_setting('tucdesk.team', true));

GRANT SELECT ON goose_db_version TO tucdesk_daemon;

-- +goose Down
REVOKE SELECT ON goose_db_version FROM tucdesk_daemon;
DROP TABLE writer;
DROP TABLE audit_chain;
DROP TABLE audit_head;
DROP TABLE audit_hash;
DROP TABLE audit_entry;
DROP TABLE session;
DROP TABLE approval;
DROP TABLE replay;
DROP TABLE target;
DROP TABLE roster_statement;
