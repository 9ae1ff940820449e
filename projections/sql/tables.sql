-- The tables of one generation. Unqualified: the search path names the schema they are made in.
-- Times are event times, but for known_at: when the tape took it. seq: the tape sequence a row comes from, the newest
-- where it comes from several; n: the place of the fact in its message. Key columns come first.

CREATE TABLE candles (
    venue text, symbol text, timeframe text, ts timestamptz NOT NULL,
    open float8 NOT NULL, high float8 NOT NULL, low float8 NOT NULL, close float8 NOT NULL, volume float8 NOT NULL,
    count int8, origin text NOT NULL, seq int8 NOT NULL, known_at timestamptz NOT NULL,
    PRIMARY KEY (venue, symbol, timeframe, ts)
);
COMMENT ON TABLE candles IS 'ts is the close time; origin: live, backfilled, revised or history';

CREATE TABLE series (
    venue text, symbol text, timeframe text, first_ts timestamptz NOT NULL, last_ts timestamptz NOT NULL,
    rows int8 NOT NULL, seq int8 NOT NULL, known_at timestamptz NOT NULL,
    PRIMARY KEY (venue, symbol, timeframe)
);

CREATE TABLE feeds (
    venue text, symbol text, last_kind text, last_ts timestamptz, opened_ts timestamptz, complete_from timestamptz,
    interrupted_ts timestamptz, reason text, seq int8 NOT NULL, known_at timestamptz NOT NULL,
    PRIMARY KEY (venue, symbol)
);

CREATE TABLE gaps (
    venue text, symbol text, timeframe text, first_ts timestamptz, last_ts timestamptz NOT NULL,
    missing int8 NOT NULL, state text NOT NULL, found_at timestamptz, found_seq int8, filled_at timestamptz,
    filled_seq int8, PRIMARY KEY (venue, symbol, timeframe, first_ts)
);
COMMENT ON TABLE gaps IS 'state: found or filled; found_at and filled_at are when it became known';

CREATE TABLE data_quality (
    seq int8, n int4, venue text NOT NULL, symbol text NOT NULL, ts timestamptz NOT NULL, issue text NOT NULL,
    detail text NOT NULL, known_at timestamptz NOT NULL, PRIMARY KEY (seq, n)
);

CREATE TABLE quarantine (
    seq int8, n int4, kind text NOT NULL, source text NOT NULL, ts timestamptz, reason text NOT NULL,
    detail text NOT NULL, raw bytea NOT NULL, known_at timestamptz NOT NULL, PRIMARY KEY (seq, n)
);
COMMENT ON TABLE quarantine IS 'kind: quarantined (an actor said so) or unreadable (bytes on the tape that are no fact)';

CREATE TABLE quarantine_steps (
    seq int8, n int4, item_seq int8 NOT NULL, item_n int4 NOT NULL, step text NOT NULL, ts timestamptz NOT NULL,
    issued_by text NOT NULL, reason text NOT NULL, known_at timestamptz NOT NULL, PRIMARY KEY (seq, n)
);
COMMENT ON TABLE quarantine_steps IS 'step: retried or dropped; item_seq and item_n are the key in quarantine';

CREATE TABLE bots (
    bot text, account text, venue text, symbol text, timeframe text, state text, reason text, strategy text,
    version int4, params jsonb, target float8, position numeric, average numeric, started_ts timestamptz,
    ts timestamptz NOT NULL, seq int8 NOT NULL, PRIMARY KEY (bot)
);
COMMENT ON TABLE bots IS 'state: started or paused; target: the position it last asked for, -1 to 1';

CREATE TABLE signals (
    seq int8, n int4, id text NOT NULL, bot text NOT NULL, venue text NOT NULL, symbol text NOT NULL,
    ts timestamptz NOT NULL, target float8 NOT NULL, price float8 NOT NULL, kind text NOT NULL, limit_price float8,
    trigger_price float8, stop float8, take_profit float8, trail float8, confidence float8 NOT NULL,
    reasons text[] NOT NULL, known_at timestamptz NOT NULL, PRIMARY KEY (seq, n)
);

CREATE TABLE risk (
    seq int8, n int4, account text NOT NULL, bot text NOT NULL, venue text NOT NULL, symbol text NOT NULL,
    ts timestamptz NOT NULL, signal text NOT NULL, approved bool NOT NULL, qty numeric, reason text NOT NULL,
    detail text NOT NULL, known_at timestamptz NOT NULL, PRIMARY KEY (seq, n)
);

CREATE TABLE orders (
    account text, order_id text, bot text NOT NULL, venue text NOT NULL, symbol text NOT NULL,
    ts timestamptz NOT NULL, side text NOT NULL, kind text NOT NULL, role text NOT NULL, qty numeric,
    limit_price numeric, trigger_price numeric, trail numeric, reduce_only bool NOT NULL, parent text NOT NULL,
    filled numeric NOT NULL, leaves numeric, average numeric, status text NOT NULL, reason text NOT NULL,
    updated_ts timestamptz NOT NULL, seq int8 NOT NULL, PRIMARY KEY (account, order_id)
);
COMMENT ON TABLE orders IS
    'status: open, triggered, partial, filled, cancelled or rejected; qty is null until an order sized at the fill has one';

CREATE TABLE fills (
    seq int8, n int4, fill_id text NOT NULL, order_id text NOT NULL, account text NOT NULL, bot text NOT NULL,
    venue text NOT NULL, symbol text NOT NULL, ts timestamptz NOT NULL, side text NOT NULL, role text NOT NULL,
    qty numeric NOT NULL, price numeric NOT NULL, fee numeric NOT NULL, liquidity text NOT NULL,
    realized numeric NOT NULL, position numeric NOT NULL, average numeric NOT NULL, cash numeric NOT NULL,
    leaves numeric NOT NULL, known_at timestamptz NOT NULL, PRIMARY KEY (seq, n)
);

CREATE TABLE trades (
    seq int8, n int4, account text NOT NULL, bot text NOT NULL, venue text NOT NULL, symbol text NOT NULL,
    side text NOT NULL, qty numeric NOT NULL, entry_ts timestamptz NOT NULL, entry_price numeric NOT NULL,
    entry_role text NOT NULL, exit_ts timestamptz NOT NULL, exit_price numeric NOT NULL, exit_role text NOT NULL,
    fills int4 NOT NULL, gross numeric NOT NULL, fees numeric NOT NULL, pnl numeric NOT NULL,
    return float8 NOT NULL, duration_us int8 NOT NULL, known_at timestamptz NOT NULL, PRIMARY KEY (seq, n)
);
COMMENT ON TABLE trades IS 'round trips, from flat to flat; prices are averages, pnl is gross less fees';

CREATE TABLE positions (
    account text, bot text, venue text, symbol text, qty numeric NOT NULL, average numeric NOT NULL,
    mark numeric NOT NULL, unrealized numeric NOT NULL, fees numeric NOT NULL, opened_ts timestamptz NOT NULL,
    ts timestamptz NOT NULL, seq int8 NOT NULL, PRIMARY KEY (account, bot, venue, symbol)
);
COMMENT ON TABLE positions IS 'open ones only; mark: the close of the newest candle; fees: paid in this round trip so far';

CREATE TABLE accounts (
    account text, currency text NOT NULL, opened_ts timestamptz NOT NULL, initial numeric NOT NULL,
    cash numeric NOT NULL, equity numeric NOT NULL, peak numeric NOT NULL, restricted text NOT NULL,
    ts timestamptz NOT NULL, seq int8 NOT NULL, PRIMARY KEY (account)
);
COMMENT ON TABLE accounts IS 'restricted: the level of the kill switch in force, or empty';

CREATE TABLE equity (
    account text, ts timestamptz NOT NULL, cash numeric NOT NULL, equity numeric NOT NULL, peak numeric NOT NULL,
    drawdown float8 NOT NULL, seq int8 NOT NULL, PRIMARY KEY (account, ts)
);
COMMENT ON TABLE equity IS 'as it stood at the close of each minute (ts) in which something of it changed';

CREATE TABLE commands (
    seq int8, n int4, kind text NOT NULL, target text NOT NULL, ts timestamptz NOT NULL, issued_by text NOT NULL,
    level text NOT NULL, reason text NOT NULL, known_at timestamptz NOT NULL, PRIMARY KEY (seq, n)
);

CREATE TABLE sessions (
    seq int8, n int4, ts timestamptz NOT NULL, plan jsonb NOT NULL, hash text NOT NULL,
    known_at timestamptz NOT NULL, PRIMARY KEY (seq, n)
);

CREATE TABLE actors (
    actor text, state text NOT NULL, epoch int8, writer text, claimed_at timestamptz, claimed_seq int8,
    halted_at timestamptz, halted_seq int8, reason text, detail text, seq int8 NOT NULL, PRIMARY KEY (actor)
);
COMMENT ON TABLE actors IS 'state: claimed or halted; the last claim and the last halt';

CREATE TABLE parked (
    seq int8, n int4, view text, reason text NOT NULL, PRIMARY KEY (seq, n, view)
);
COMMENT ON TABLE parked IS 'facts a view could not project; the fact itself is on the tape at seq';

CREATE TABLE checkpoints (
    projection text PRIMARY KEY, version int4 NOT NULL, generation text NOT NULL, tape text NOT NULL,
    origin text NOT NULL, seq int8 NOT NULL, state bytea NOT NULL
);
COMMENT ON TABLE checkpoints IS
    'origin: the id of the first message on the tape, which tells a tape from another of the same name';

CREATE INDEX fills_by_bot ON fills (account, bot, ts);
CREATE INDEX trades_by_bot ON trades (account, bot, exit_ts);
CREATE INDEX signals_by_bot ON signals (bot, ts);
CREATE INDEX orders_open ON orders (account, bot) WHERE status IN ('open', 'triggered', 'partial');
