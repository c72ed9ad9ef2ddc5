"""The tables of a day's file. docs/history.md documents the views over them, not these."""

APPLICATION_ID = 0x71746864
"""In the header of each file, so that a foreign SQLite file is known."""
FORMAT = 1
"""In the header as well (user_version): what a newer qtctl wrote is not read."""
OLDEST = 1
"""The oldest that is read."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cursors (
  stream TEXT PRIMARY KEY, id TEXT NOT NULL, turn INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL);
CREATE TABLE profiles (
  id INTEGER PRIMARY KEY, verdict TEXT, reason TEXT, kind TEXT, action TEXT, side TEXT, source TEXT,
  decision TEXT, full_close TEXT, withdrawn TEXT,
  eff_stale TEXT, eff_action TEXT, eff_reason TEXT, deliveries TEXT, attempts TEXT, instance TEXT,
  version TEXT, limits TEXT, permitted_before TEXT, kill_key TEXT, kill_value TEXT, kill_level TEXT,
  queued_before_server TEXT, clock_jump TEXT
);
CREATE TABLE decisions (
  id INTEGER PRIMARY KEY, entry INTEGER, outcome INTEGER NOT NULL, profile INTEGER NOT NULL,
  symbol INTEGER NOT NULL, plan_id TEXT NOT NULL, qty, price, kill_score, plan_at, score,
  confidence, score_at, score_read_at, notional_cents INTEGER, factor_e4 INTEGER,
  extra_cooldown_sec INTEGER, decided_after_ms INTEGER, queue_age_ms INTEGER,
  last_open_age_ms INTEGER, last_close_age_ms INTEGER, opens_5min INTEGER, opens_1h INTEGER,
  opens_total_5min INTEGER, exact TEXT
);
CREATE UNIQUE INDEX decisions_once ON decisions (entry, outcome);
CREATE TABLE passes (
  id INTEGER PRIMARY KEY, id_text TEXT, ts_ms INTEGER NOT NULL, number INTEGER NOT NULL,
  instance INTEGER NOT NULL, version INTEGER NOT NULL, rules INTEGER NOT NULL,
  symbols INTEGER NOT NULL, block INTEGER NOT NULL, place INTEGER NOT NULL
);
CREATE TABLE blocks (
  id INTEGER PRIMARY KEY, passes INTEGER NOT NULL, rows INTEGER NOT NULL, open INTEGER NOT NULL,
  frames BLOB NOT NULL
);
CREATE INDEX blocks_open ON blocks (id) WHERE open = 1;
CREATE TABLE events (id INTEGER PRIMARY KEY, id_text TEXT, fields TEXT NOT NULL);
CREATE TABLE rejected (id INTEGER PRIMARY KEY, id_text TEXT, fields TEXT NOT NULL);
CREATE TABLE services (
  at_ms INTEGER, what TEXT, service TEXT, name TEXT, version TEXT, host TEXT, pid INTEGER,
  started_ms INTEGER, settings TEXT, UNIQUE (at_ms, what, service, name)
);
CREATE TABLE servers (
  at_ms INTEGER, what TEXT, run_id TEXT, role TEXT, version TEXT, started_ms INTEGER, detail TEXT,
  UNIQUE (at_ms, what, run_id)
);
CREATE TABLE halts (
  at_ms INTEGER, what TEXT, scope TEXT, key TEXT, value TEXT, actor TEXT, why TEXT,
  UNIQUE (at_ms, what, scope, key)
);
CREATE TABLE gaps (
  kind TEXT, from_ms INTEGER, to_ms INTEGER, stream TEXT, count INTEGER, detail TEXT, at_ms INTEGER,
  UNIQUE (kind, from_ms, to_ms, stream, detail)
);
CREATE TABLE documents (
  kind TEXT, digest TEXT, body BLOB NOT NULL, PRIMARY KEY (kind, digest)
) WITHOUT ROWID;
"""

PLAN_TAIL = "substr(plan_id, -8)"
"""What a finished day's index of plans holds: the end of a plan_id, where ids differ."""
PLAN_INDEX = "decisions_plan"
AT_SEALING = f"CREATE INDEX IF NOT EXISTS {PLAN_INDEX} ON decisions ({PLAN_TAIL})"
