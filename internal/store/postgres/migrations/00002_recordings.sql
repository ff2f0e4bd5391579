-- +goose Up

CREATE TABLE recording (
    team_id    TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    session_id BYTEA  NOT NULL CHECK (length(session_id) = 16),
    number     BIGINT NOT NULL,
    agent      BYTEA  NOT NULL CHECK (length(agent) = 32),
    segments   BIGINT NOT NULL,
    size       BIGINT NOT NULL,
    head       BYTEA  NOT NULL CHECK (length(head) = 32),
    length_ms  BIGINT NOT NULL,
    final      BIGINT NOT NULL CHECK (final IN (0, 1)),
    updated    BIGINT NOT NULL,
    PRIMARY KEY (team_id, session_id),
    UNIQUE (team_id, number)
);
GRANT SELECT, INSERT, UPDATE ON recording TO tucdesk_daemon;
ALTER TABLE recording ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON recording USING (team_id = current_setting('tucdesk.team', true));

CREATE TABLE recording_manifest (
    team_id    TEXT COLLATE "C" NOT NULL CHECK (team_id <> ''),
    session_id BYTEA  NOT NULL CHECK (length(session_id) = 16),
    n          BIGINT NOT NULL CHECK (n >= 1),
    bytes      BYTEA  NOT NULL,
    PRIMARY KEY (team_id, session_id, n)
);
GRANT SELECT, INSERT ON recording_manifest TO tucdesk_daemon;
ALTER TABLE recording_manifest ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_team ON recording_manifest USING (team_id = current_setting('tucdesk.team', true));

-- +goose Down
DROP TABLE recording_manifest;
DROP TABLE recording;
