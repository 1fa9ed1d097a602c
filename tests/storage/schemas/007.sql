BEGIN TRANSACTION;
CREATE TABLE _migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at REAL NOT NULL
) STRICT;
INSERT INTO "_migrations" VALUES(1,'m001_initial',1.79536209974401783943e+09);
INSERT INTO "_migrations" VALUES(2,'m002_phases_and_provenance',1.79538497189471077915e+09);
INSERT INTO "_migrations" VALUES(3,'m003_evaluations',1.79542489798256444926e+09);
INSERT INTO "_migrations" VALUES(4,'m004_branches_and_votes',1.79542758623769640926e+09);
INSERT INTO "_migrations" VALUES(5,'m005_deleted_masks',1.79542926801858878128e+09);
INSERT INTO "_migrations" VALUES(6,'m006_owners',1.79543977124345350269e+09);
INSERT INTO "_migrations" VALUES(7,'m007_ids_used_once',1.79585678769172692303e+09);
CREATE TABLE cells (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    place INTEGER NOT NULL,
    info TEXT NOT NULL,
    PRIMARY KEY (job_id, key)
) STRICT, WITHOUT ROWID;
INSERT INTO "cells" VALUES('1k0vx835sr4y0czp','full',0,'{"title": "Full"}');
CREATE TABLE chats (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    title TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
, source TEXT NOT NULL DEFAULT '', leaf INTEGER, owner TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "chats" VALUES('1k0vx8367zpepkqe','tracer','a=3; ?a','{"sparsity": 0.5}',1.79536209976523733139e+09,1.79536209976801848413e+09,'',2,'');
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    level TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
INSERT INTO "events" VALUES(1,'1k0vx835sr4y0czp',1.79536209976218056683e+09,'info','Hardening begins.');
INSERT INTO "events" VALUES(2,'1k0vx835sr4y0czp',1.79536209976460647578e+09,'info','Learned.');
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    request_key TEXT UNIQUE,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    params TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    stop_requested INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    worker_id TEXT,
    pid INTEGER,
    pid_start_time REAL,
    host TEXT,
    boot_id TEXT,
    lease_until REAL,
    heartbeat_at REAL,
    step INTEGER NOT NULL,
    total_steps INTEGER NOT NULL,
    progress_at_claim INTEGER NOT NULL,
    message TEXT NOT NULL,
    exit_code INTEGER,
    created_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    resume_of TEXT REFERENCES jobs (id) ON DELETE SET NULL,
    code_version TEXT NOT NULL,
    seed INTEGER NOT NULL,
    changes INTEGER NOT NULL
, phase TEXT NOT NULL DEFAULT '', phase_done INTEGER NOT NULL DEFAULT 0, phase_total INTEGER NOT NULL DEFAULT 0, versions TEXT NOT NULL DEFAULT '{}', cloned_from TEXT REFERENCES jobs (id) ON DELETE SET NULL, owner TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "jobs" VALUES('1k0vx835sr4y0czp',NULL,'train','Quick','{"beta": 0.05}','tracer','done',0,0,1,3,NULL,7057,1700.98,'laptop','f8aec376-0000-4000-8000-000000000000',NULL,1.7953620997611603737e+09,2,2,0,'Learned.',0,1.79536209975068426127e+09,1.79536209975400424003e+09,1.795362099764603138e+09,NULL,'',0,8,'Measuring',100,100,'{"torch": "2.13.0"}',NULL,'');
CREATE TABLE masks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    revision TEXT NOT NULL,
    layers INTEGER NOT NULL,
    kv_heads INTEGER NOT NULL,
    scores BLOB NOT NULL,
    kept BLOB NOT NULL,
    sink INTEGER NOT NULL,
    recent INTEGER NOT NULL,
    info TEXT NOT NULL,
    job_id TEXT REFERENCES jobs (id) ON DELETE SET NULL,
    parent_id TEXT REFERENCES masks (id) ON DELETE SET NULL,
    created_at REAL NOT NULL
, deleted_at REAL, owner TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "masks" VALUES('1k0vx83664t5fwwf','half','tracer','abc',2,3,X'000000000000000000000000000000000000000000000000',X'010001000100',4,16,'{"task": "tracing"}','1k0vx835sr4y0czp',NULL,1.7953620997633697987e+09,NULL,'');
CREATE TABLE "messages" (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    side TEXT,
    stats TEXT NOT NULL,
    created_at REAL NOT NULL,
    parent_id INTEGER REFERENCES "messages" (id),
    tokens BLOB
) STRICT;
INSERT INTO "messages" VALUES(1,'1k0vx8367zpepkqe','user','a=3; ?a',NULL,'{}',1.79536209976672482494e+09,NULL,NULL);
INSERT INTO "messages" VALUES(2,'1k0vx8367zpepkqe','assistant','3',NULL,'{"sides": [{"slot": 0, "role": "full", "name": "Full", "text": "3", "now": {"bytes": 9}}]}',1.79536209976801848413e+09,1,X'789C8BAE562A51B252885632568AD551502A00B10DF44C636B630157D30697');
CREATE TABLE metrics (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    step INTEGER NOT NULL,
    value REAL,
    PRIMARY KEY (job_id, name, step)
) STRICT, WITHOUT ROWID;
INSERT INTO "metrics" VALUES('1k0vx835sr4y0czp','reward',1,0.25);
INSERT INTO "metrics" VALUES('1k0vx835sr4y0czp','reward',2,0.5);
CREATE TABLE problems (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    prompt TEXT NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (job_id, place)
) STRICT, WITHOUT ROWID;
INSERT INTO "problems" VALUES('1k0vx835sr4y0czp',0,'a=3; ?a','3');
CREATE TABLE samples (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    cell TEXT NOT NULL,
    problem INTEGER NOT NULL,
    draw INTEGER NOT NULL,
    text TEXT NOT NULL,
    verdict TEXT NOT NULL,
    stop TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    length INTEGER NOT NULL,
    kv_bytes INTEGER NOT NULL,
    PRIMARY KEY (job_id, cell, problem, draw)
) STRICT, WITHOUT ROWID;
INSERT INTO "samples" VALUES('1k0vx835sr4y0czp','full',0,0,'3','right','end',2,9,64);
CREATE TABLE snapshots (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    layers INTEGER NOT NULL,
    kv_heads INTEGER NOT NULL,
    gates BLOB NOT NULL,
    PRIMARY KEY (job_id, step)
) STRICT;
INSERT INTO "snapshots" VALUES('1k0vx835sr4y0czp',2,2,3,X'000000000000000000000000000000000000000000000000');
CREATE TABLE visitors (
    id TEXT PRIMARY KEY,
    seen_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "visitors" VALUES('3f2a9c51d07be846',1795450000.5);
CREATE TABLE votes (
    id INTEGER PRIMARY KEY,
    chat_id TEXT REFERENCES chats (id) ON DELETE SET NULL,
    message_id INTEGER UNIQUE REFERENCES messages (id) ON DELETE SET NULL,
    model TEXT NOT NULL,
    choice TEXT NOT NULL,
    left_mask TEXT NOT NULL,
    left_sparsity REAL NOT NULL,
    right_mask TEXT NOT NULL,
    right_sparsity REAL NOT NULL,
    settings TEXT NOT NULL,
    created_at REAL NOT NULL
, owner TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "votes" VALUES(1,'1k0vx8367zpepkqe',2,'tracer','left','',0.0,'half',0.5,'{}',1.7954275863962335586e+09,'3f2a9c51d07be846');
CREATE INDEX jobs_by_state ON jobs (state, priority, created_at);
CREATE INDEX jobs_by_resume_of ON jobs (resume_of);
CREATE INDEX events_by_job ON events (job_id, id);
CREATE INDEX masks_by_model ON masks (model, created_at);
CREATE INDEX masks_by_job ON masks (job_id);
CREATE INDEX masks_by_parent ON masks (parent_id);
CREATE INDEX jobs_by_cloned_from ON jobs (cloned_from);
CREATE INDEX votes_by_chat ON votes (chat_id);
CREATE INDEX jobs_by_owner ON jobs (owner, created_at);
CREATE INDEX masks_by_owner ON masks (owner, created_at);
CREATE INDEX chats_by_owner ON chats (owner, updated_at);
CREATE INDEX votes_by_owner ON votes (owner);
CREATE INDEX messages_by_chat ON messages (chat_id, id);
CREATE INDEX messages_by_parent ON messages (parent_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('messages',4);
COMMIT;
