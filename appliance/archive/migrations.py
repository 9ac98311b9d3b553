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
CREATE TABLE journal (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    released INTEGER NOT NULL
) STRICT;

ALTER TABLE instances DROP COLUMN content_sha256;
"""

SEARCH = """
CREATE TABLE found_studies (
    id INTEGER PRIMARY KEY,
    study TEXT NOT NULL UNIQUE REFERENCES studies (key) ON DELETE CASCADE,
    study_uid TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    urgent INTEGER NOT NULL,
    received_at REAL NOT NULL,
    patient_name TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    patient_birth_date TEXT NOT NULL,
    patient_sex TEXT NOT NULL,
    accession_number TEXT NOT NULL,
    study_id TEXT NOT NULL,
    study_date TEXT NOT NULL,
    study_time TEXT NOT NULL,
    study_description TEXT NOT NULL,
    referring_physician TEXT NOT NULL,
    institution TEXT NOT NULL,
    names TEXT NOT NULL,
    patient TEXT NOT NULL,
    accession TEXT NOT NULL
) STRICT;
CREATE INDEX found_studies_listed ON found_studies (urgent DESC, received_at DESC, state, study_date, patient, accession);
CREATE INDEX found_studies_by_state ON found_studies (state, urgent DESC, received_at DESC, study_date, study);
CREATE INDEX found_studies_by_date ON found_studies (study_date, state, urgent, received_at, study);
CREATE INDEX found_studies_by_patient ON found_studies (patient_id);
CREATE INDEX found_studies_by_accession ON found_studies (accession_number);
CREATE VIRTUAL TABLE found_words USING fts5 (words, tokenize = 'ascii');
CREATE TRIGGER found_words_gone AFTER DELETE ON found_studies BEGIN
    DELETE FROM found_words WHERE rowid = OLD.id;
END;

CREATE TABLE found_series (
    id INTEGER PRIMARY KEY,
    study TEXT NOT NULL REFERENCES studies (key) ON DELETE CASCADE,
    series_uid TEXT NOT NULL,
    modality TEXT NOT NULL,
    series_number INTEGER,
    series_description TEXT NOT NULL,
    body_part TEXT NOT NULL,
    protocol TEXT NOT NULL,
    series_date TEXT NOT NULL,
    series_time TEXT NOT NULL,
    result INTEGER NOT NULL,
    UNIQUE (study, series_uid)
) STRICT;

CREATE TABLE found_instances (
    id INTEGER PRIMARY KEY,
    sop_instance_uid TEXT NOT NULL UNIQUE,
    study TEXT NOT NULL REFERENCES studies (key) ON DELETE CASCADE,
    series_uid TEXT NOT NULL,
    sop_class_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    path TEXT NOT NULL,
    instance_number INTEGER,
    rows INTEGER,
    columns INTEGER,
    frames INTEGER,
    content_date TEXT NOT NULL,
    content_time TEXT NOT NULL,
    result INTEGER NOT NULL
) STRICT;
CREATE INDEX found_instances_by_study ON found_instances (study, series_uid);
CREATE TRIGGER found_images_gone AFTER DELETE ON instances BEGIN
    DELETE FROM found_instances WHERE sop_instance_uid = OLD.sop_instance_uid AND result = 0;
END;
CREATE TRIGGER found_series_gone AFTER DELETE ON found_instances
WHEN NOT EXISTS (SELECT 1 FROM found_instances WHERE study = OLD.study AND series_uid = OLD.series_uid) BEGIN
    DELETE FROM found_series WHERE study = OLD.study AND series_uid = OLD.series_uid;
END;

CREATE TABLE web_tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    may_store INTEGER NOT NULL,
    created_at REAL NOT NULL,
    revoked_at REAL
) STRICT;

CREATE TABLE priors (
    study_uid TEXT NOT NULL,
    study TEXT NOT NULL REFERENCES studies (key) ON DELETE CASCADE,
    source TEXT NOT NULL,
    study_date TEXT NOT NULL,
    description TEXT NOT NULL,
    modalities TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('found', 'fetched', 'failed')),
    reason BLOB,
    asked_at REAL NOT NULL,
    PRIMARY KEY (study, study_uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX priors_by_uid ON priors (study_uid);
CREATE TABLE prior_searches (
    study TEXT PRIMARY KEY REFERENCES studies (key) ON DELETE CASCADE,
    source TEXT NOT NULL,
    at REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""

ROUTING = """
ALTER TABLE outbox ADD COLUMN route TEXT;
ALTER TABLE outbox ADD COLUMN treatment BLOB;
ALTER TABLE outbox ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN commitment INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox_files ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox_files ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox_files ADD COLUMN sop_class_uid TEXT;
ALTER TABLE outbox_files ADD COLUMN sop_instance_uid TEXT;
ALTER TABLE outbox_files ADD COLUMN committed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox_files ADD COLUMN asked TEXT;
ALTER TABLE outbox_files ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox_files ADD COLUMN failure_reason INTEGER;
CREATE INDEX outbox_files_by_uid ON outbox_files (sop_instance_uid);
CREATE INDEX outbox_files_asked ON outbox_files (asked) WHERE asked IS NOT NULL;
CREATE INDEX outbox_committing ON outbox (destination, id) WHERE commitment = 1;

CREATE TABLE commitments_asked (
    transaction_uid TEXT PRIMARY KEY,
    destination TEXT NOT NULL,
    asked_at REAL NOT NULL,
    answered_at REAL
) STRICT;

CREATE TABLE commitment_requests (
    id INTEGER PRIMARY KEY,
    transaction_uid TEXT NOT NULL,
    requester TEXT NOT NULL,
    called TEXT NOT NULL,
    received_at REAL NOT NULL,
    answered_at REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    UNIQUE (requester, transaction_uid)
) STRICT;
CREATE INDEX commitment_requests_open ON commitment_requests (id) WHERE answered_at IS NULL;

CREATE TABLE commitment_items (
    request INTEGER NOT NULL REFERENCES commitment_requests (id),
    position INTEGER NOT NULL,
    sop_class_uid TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    outcome INTEGER,
    PRIMARY KEY (request, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
    step_id TEXT NOT NULL,
    accession_number TEXT NOT NULL,
    study_uid TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    seen_at REAL NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (study_uid, accession_number, step_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_by_accession ON orders (accession_number);

CREATE TABLE procedure_steps (
    sop_instance_uid TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    study_uid TEXT NOT NULL,
    updated_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX procedure_steps_by_study ON procedure_steps (study_uid);

CREATE TABLE procedure_step_images (
    step TEXT NOT NULL REFERENCES procedure_steps (sop_instance_uid),
    series_uid TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    PRIMARY KEY (step, sop_instance_uid)
) STRICT, WITHOUT ROWID;

CREATE TABLE procedure_step_messages (
    id INTEGER PRIMARY KEY,
    step TEXT NOT NULL REFERENCES procedure_steps (sop_instance_uid),
    kind TEXT NOT NULL CHECK (kind IN ('create', 'set')),
    transfer_syntax_uid TEXT NOT NULL,
    content BLOB NOT NULL,
    received_at REAL NOT NULL,
    done_at REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error BLOB
) STRICT;
CREATE INDEX procedure_step_messages_open ON procedure_step_messages (id) WHERE done_at IS NULL;

CREATE TABLE pseudonym_keys (
    route TEXT PRIMARY KEY,
    secret BLOB NOT NULL
) STRICT;

CREATE TABLE pseudonyms (
    route TEXT NOT NULL,
    patient TEXT NOT NULL,
    pseudonym TEXT NOT NULL UNIQUE,
    PRIMARY KEY (route, patient)
) STRICT, WITHOUT ROWID;

CREATE TABLE pseudonym_uids (
    route TEXT NOT NULL,
    original TEXT NOT NULL,
    replacement TEXT NOT NULL,
    PRIMARY KEY (route, original)
) STRICT, WITHOUT ROWID;
"""

KEEPING = """
CREATE TABLE keeping (
    study TEXT PRIMARY KEY REFERENCES studies (key),
    protected INTEGER NOT NULL DEFAULT 0,
    images_removed_at REAL,
    results_removed_at REAL
) STRICT, WITHOUT ROWID;

CREATE TABLE removals (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'draft')),
    name TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL
) STRICT;
"""

BADGES = """
CREATE TABLE badges (
    user TEXT PRIMARY KEY REFERENCES users (id),
    hash BLOB NOT NULL UNIQUE,
    enrolled_at REAL NOT NULL
) STRICT;

CREATE TABLE badge_salt (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    salt BLOB NOT NULL
) STRICT;
"""

MIGRATIONS: tuple[str, ...] = (FIRST, RECEIVING, SEARCH, ROUTING, KEEPING, BADGES)
"""Step n brings the database from version n to n + 1 (``PRAGMA user_version``)."""
