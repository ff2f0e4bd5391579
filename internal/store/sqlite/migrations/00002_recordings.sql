-- +goose Up

CREATE TABLE recording (
    team_id    TEXT    NOT NULL,
    session_id BLOB    NOT NULL CHECK (length(session_id) = 16),
    number     INTEGER NOT NULL,
    agent      BLOB    NOT NULL CHECK (length(agent) = 32),
    segments   INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    head       BLOB    NOT NULL CHECK (length(head) = 32),
    length_ms  INTEGER NOT NULL,
    final      INTEGER NOT NULL CHECK (final IN (0, 1)),
    updated    INTEGER NOT NULL,
    PRIMARY KEY (team_id, session_id),
    UNIQUE (team_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE recording_manifest (
    team_id    TEXT    NOT NULL,
    session_id BLOB    NOT NULL CHECK (length(session_id) = 16),
    n          INTEGER NOT NULL CHECK (n >= 1),
    bytes      BLOB    NOT NULL,
    PRIMARY KEY (team_id, session_id, n)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE recording_manifest;
DROP TABLE recording;
