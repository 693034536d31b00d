-- What the sandbox keeps. Written so that SQLite and PostgreSQL both take it.
CREATE TABLE IF NOT EXISTS counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS users (
    guid         TEXT PRIMARY KEY,
    username     TEXT NOT NULL UNIQUE,
    role         TEXT NOT NULL,
    api_key      TEXT NOT NULL UNIQUE,
    created_time TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS content (
    guid               TEXT PRIMARY KEY,
    id                 BIGINT NOT NULL UNIQUE,
    owner_guid         TEXT NOT NULL REFERENCES users (guid),
    name               TEXT NOT NULL,
    access_type        TEXT NOT NULL,
    app_mode           TEXT NOT NULL,
    bundle_id          BIGINT,
    created_time       TEXT NOT NULL,
    last_deployed_time TEXT NOT NULL,
    settings           TEXT NOT NULL,
    UNIQUE (owner_guid, name)
);
CREATE TABLE IF NOT EXISTS bundles (
    id           BIGINT PRIMARY KEY,
    content_guid TEXT NOT NULL REFERENCES content (guid) ON DELETE CASCADE,
    created_time TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    size         BIGINT NOT NULL,
    md5          TEXT NOT NULL,
    manifest     TEXT,
    source       TEXT NOT NULL,
    deployed     BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS bundles_of_content ON bundles (content_guid);
CREATE TABLE IF NOT EXISTS environment (
    content_guid TEXT NOT NULL REFERENCES content (guid) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    value        TEXT NOT NULL,
    PRIMARY KEY (content_guid, name)
);
CREATE TABLE IF NOT EXISTS permissions (
    id             BIGINT PRIMARY KEY,
    content_guid   TEXT NOT NULL REFERENCES content (guid) ON DELETE CASCADE,
    principal_guid TEXT NOT NULL,
    principal_type TEXT NOT NULL,
    role           TEXT NOT NULL,
    UNIQUE (content_guid, principal_guid)
);
CREATE TABLE IF NOT EXISTS vanities (
    path         TEXT PRIMARY KEY,
    content_guid TEXT NOT NULL UNIQUE REFERENCES content (guid) ON DELETE CASCADE,
    created_time TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS tags (
    id           BIGINT PRIMARY KEY,
    name         TEXT NOT NULL,
    parent_id    BIGINT REFERENCES tags (id) ON DELETE CASCADE,
    created_time TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS content_tags (
    content_guid TEXT NOT NULL REFERENCES content (guid) ON DELETE CASCADE,
    tag_id       BIGINT NOT NULL REFERENCES tags (id) ON DELETE CASCADE,
    PRIMARY KEY (content_guid, tag_id)
);
