"""The shape of the database, as numbered steps that are each applied once, in one transaction. Append only."""

from __future__ import annotations

FIRST = """
CREATE TABLE associations (
    id INTEGER PRIMARY KEY,
    calling_ae_title TEXT NOT NULL,
    called_ae_title TEXT NOT NULL,
    peer TEXT NOT NULL,
    opened_at REAL NOT NULL,
    closed_at REAL,
    instances INTEGER,
    outcome TEXT CHECK (outcome IN ('released', 'aborted', 'lost'))
) STRICT;
CREATE INDEX associations_open ON associations (id) WHERE closed_at IS NULL;

CREATE TABLE studies (
    key TEXT PRIMARY KEY,
    study_uid TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    revision INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    header BLOB NOT NULL,
    received_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    images INTEGER NOT NULL,
    urgent INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    stage TEXT,
    progress REAL,
    cad_rads TEXT,
    reason BLOB,
    approval BLOB,
    main_series TEXT,
    draft TEXT
) STRICT;
CREATE INDEX studies_by_state ON studies (state, received_at);
CREATE INDEX studies_by_arrival ON studies (received_at);

CREATE TABLE study_events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    study TEXT NOT NULL REFERENCES studies (key)
) STRICT;

CREATE TABLE instances (
    id INTEGER PRIMARY KEY,
    sop_instance_uid TEXT NOT NULL UNIQUE,
    sop_class_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    received_at REAL NOT NULL,
    association INTEGER REFERENCES associations (id),
    study TEXT REFERENCES studies (key),
    series_uid TEXT,
    relayed INTEGER NOT NULL DEFAULT 0,
    problem BLOB
) STRICT;
CREATE INDEX instances_unsorted ON instances (id) WHERE study IS NULL AND problem IS NULL;
CREATE INDEX instances_to_relay ON instances (study) WHERE relayed = 0 AND study IS NOT NULL;
CREATE INDEX instances_by_study ON instances (study, series_uid);
CREATE INDEX instances_by_association ON instances (association);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    study TEXT NOT NULL REFERENCES studies (key),
    generation INTEGER NOT NULL,
    destination TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('store', 'print')),
    purpose TEXT NOT NULL CHECK (purpose IN ('results', 'source')),
    description TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'done', 'retrying')),
    attempts INTEGER NOT NULL,
    created_at REAL NOT NULL,
    next_attempt_at REAL,
    held INTEGER NOT NULL,
    done_at REAL,
    last_error BLOB
) STRICT;
CREATE INDEX outbox_work ON outbox (destination, id) WHERE state <> 'done';
CREATE INDEX outbox_by_study ON outbox (study, id);

CREATE TABLE outbox_files (
    outbox INTEGER NOT NULL REFERENCES outbox (id),
    position INTEGER NOT NULL,
    path TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    status INTEGER,
    PRIMARY KEY (outbox, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('radiographer', 'physician', 'engineer')),
    pin_hash TEXT NOT NULL,
    created_at REAL NOT NULL,
    disabled INTEGER NOT NULL
) STRICT;

CREATE TABLE failed_sign_ins (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL
) STRICT;

CREATE TABLE commands (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    at REAL NOT NULL
) STRICT;

CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    study TEXT,
    details TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;

CREATE TABLE components (
    name TEXT PRIMARY KEY,
    ready INTEGER NOT NULL,
    detail TEXT NOT NULL,
    reason BLOB,
    updated_at REAL NOT NULL
) STRICT;
"""

RECEIVING = """
"""

SEARCH = """
"""

ROUTING = """
"""

KEEPING = """
"""

MIGRATIONS: tuple[str, ...] = (FIRST, RECEIVING, SEARCH, ROUTING, KEEPING)
"""Step n brings the database from version n to n + 1 (``PRAGMA user_version``)."""
