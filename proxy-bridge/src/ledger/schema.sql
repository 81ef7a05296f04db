-- Format 1. Times are microseconds since 1970. `state` is a number of `ledger/codes.rs`.

-- Names of tasks and projects, and commits, by number: the indices stay small.
CREATE TABLE names (no INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);

CREATE TABLE runs (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    project INTEGER NOT NULL,
    task INTEGER NOT NULL,
    state INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    ended_at INTEGER,
    commit_no INTEGER,
    parent BLOB,
    key TEXT,
    boot TEXT,
    -- The JSON of the run, without its result.
    record TEXT NOT NULL
);
CREATE INDEX runs_state ON runs (state, queued_at);
CREATE INDEX runs_project ON runs (project, state, queued_at);
CREATE INDEX runs_task ON runs (task, state, queued_at);
CREATE INDEX runs_commit ON runs (commit_no, queued_at) WHERE commit_no IS NOT NULL;
CREATE INDEX runs_task_commit ON runs (task, commit_no, queued_at) WHERE commit_no IS NOT NULL;
CREATE INDEX runs_parent ON runs (parent, queued_at) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX runs_key ON runs (task, key) WHERE key IS NOT NULL;
CREATE INDEX runs_end ON runs (state, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX runs_task_end ON runs (task, state, ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE inputs (run INTEGER PRIMARY KEY, input TEXT NOT NULL);
CREATE TABLE results (run INTEGER PRIMARY KEY, result TEXT NOT NULL);
CREATE TABLE steps (
    run INTEGER NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    is_done INTEGER NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (run, name)
);

CREATE TABLE occurrences (
    task INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    run BLOB,
    reason TEXT,
    PRIMARY KEY (task, due_at)
) WITHOUT ROWID;

CREATE TABLE schedules (task INTEGER PRIMARY KEY, spec TEXT NOT NULL, settled INTEGER NOT NULL);
CREATE TABLE project_tasks (project INTEGER PRIMARY KEY, record TEXT NOT NULL);

-- Rows by task and state, kept by the triggers below. Task 0 is all tasks; state -1 is occurrences.
CREATE TABLE counts (
    task INTEGER NOT NULL,
    state INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (task, state)
) WITHOUT ROWID;

CREATE TRIGGER run_added AFTER INSERT ON runs BEGIN
    INSERT INTO counts VALUES (new.task, new.state, 1) ON CONFLICT (task, state) DO UPDATE SET n = n + 1;
    INSERT INTO counts VALUES (0, new.state, 1) ON CONFLICT (task, state) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER run_changed AFTER UPDATE OF state ON runs WHEN old.state <> new.state BEGIN
    UPDATE counts SET n = n - 1 WHERE task IN (0, old.task) AND state = old.state;
    INSERT INTO counts VALUES (new.task, new.state, 1) ON CONFLICT (task, state) DO UPDATE SET n = n + 1;
    INSERT INTO counts VALUES (0, new.state, 1) ON CONFLICT (task, state) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER run_deleted AFTER DELETE ON runs BEGIN
    UPDATE counts SET n = n - 1 WHERE task IN (0, old.task) AND state = old.state;
    DELETE FROM inputs WHERE run = old.seq;
    DELETE FROM results WHERE run = old.seq;
    DELETE FROM steps WHERE run = old.seq;
END;
CREATE TRIGGER occurrence_added AFTER INSERT ON occurrences BEGIN
    INSERT INTO counts VALUES (new.task, -1, 1) ON CONFLICT (task, state) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER occurrence_deleted AFTER DELETE ON occurrences BEGIN
    UPDATE counts SET n = n - 1 WHERE task = old.task AND state = -1;
END;
