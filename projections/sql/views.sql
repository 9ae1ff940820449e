-- What is computed when it is asked for: the same on plain PostgreSQL and on TimescaleDB.

CREATE VIEW sync_status AS
SELECT s.venue, s.symbol, s.timeframe, s.first_ts, s.last_ts, s.rows, coalesce(g.open_gaps, 0) AS open_gaps,
    coalesce(g.missing, 0) AS missing, s.seq, f.last_kind AS feed_event, f.last_ts AS feed_ts,
    CASE WHEN f.interrupted_ts IS NULL OR f.opened_ts > f.interrupted_ts THEN 'open' ELSE 'interrupted' END AS feed_state
FROM series s
LEFT JOIN (
    SELECT venue, symbol, timeframe, count(*) AS open_gaps, sum(missing)::int8 AS missing
    FROM gaps WHERE state = 'found' GROUP BY venue, symbol, timeframe
) g USING (venue, symbol, timeframe)
LEFT JOIN feeds f USING (venue, symbol);

-- Closed round trips of each bot. max_drawdown: the deepest fall of its summed pnl below an earlier height, in money.
CREATE VIEW performance AS
WITH running AS (
    SELECT *, sum(pnl) OVER bot_order AS total FROM trades
    WINDOW bot_order AS (PARTITION BY account, bot ORDER BY seq, n)
), heights AS (
    SELECT *, greatest(max(total) OVER bot_order, 0) - total AS fall FROM running
    WINDOW bot_order AS (PARTITION BY account, bot ORDER BY seq, n)
)
SELECT account, bot, count(*) AS trades, count(*) FILTER (WHERE pnl > 0) AS wins,
    count(*) FILTER (WHERE pnl < 0) AS losses, (count(*) FILTER (WHERE pnl > 0))::float8 / count(*) AS win_rate,
    sum(pnl) AS pnl, sum(gross) AS gross, sum(fees) AS fees,
    coalesce(sum(pnl) FILTER (WHERE pnl > 0), 0) AS profit, coalesce(-sum(pnl) FILTER (WHERE pnl < 0), 0) AS loss,
    (sum(pnl) FILTER (WHERE pnl > 0) / nullif(-sum(pnl) FILTER (WHERE pnl < 0), 0))::float8 AS profit_factor,
    (sum(pnl) / count(*))::float8 AS expectancy, max(pnl) AS best, min(pnl) AS worst, max(return) AS best_return,
    min(return) AS worst_return, max(fall) AS max_drawdown,
    (sum(duration_us) / count(*) / 1000000)::float8 AS average_duration_s, min(entry_ts) AS first_ts,
    max(exit_ts) AS last_ts
FROM heights GROUP BY account, bot;

CREATE VIEW account_performance AS
SELECT a.account, a.currency, a.initial, a.cash, a.equity, a.equity - a.initial AS pnl, a.peak, a.restricted, a.ts,
    coalesce(e.max_drawdown, 0) AS max_drawdown, coalesce(f.fills, 0) AS fills, coalesce(f.fees, 0) AS fees,
    coalesce(p.open_positions, 0) AS open_positions, coalesce(p.unrealized, 0) AS unrealized
FROM accounts a
LEFT JOIN (SELECT account, max(drawdown) AS max_drawdown FROM equity GROUP BY account) e USING (account)
LEFT JOIN (SELECT account, count(*) AS fills, sum(fee) AS fees FROM fills GROUP BY account) f USING (account)
LEFT JOIN (
    SELECT account, count(*) AS open_positions, sum(unrealized) AS unrealized FROM positions GROUP BY account
) p USING (account);

-- Right-aligned, as candles are: ts is the close. The aggregates below count from the microsecond after a close.
CREATE VIEW candles_1h AS
SELECT venue, symbol, timeframe AS source, bucket - interval '1 microsecond' + interval '1 hour' AS ts,
    open, high, low, close, volume, bars FROM candles_1h_cagg;

CREATE VIEW candles_1d AS
SELECT venue, symbol, timeframe AS source, bucket - interval '1 microsecond' + interval '1 day' AS ts,
    open, high, low, close, volume, bars FROM candles_1d_cagg;

-- day: the UTC day; its first microsecond belongs to the day before, as the close of that day's last minute.
CREATE VIEW daily_pnl AS
SELECT e.account, ((e.bucket - interval '1 microsecond') AT TIME ZONE 'UTC')::date AS day, e.equity,
    e.equity - coalesce(lag(e.equity) OVER (PARTITION BY e.account ORDER BY e.bucket), a.initial) AS pnl,
    e.low, e.high, e.max_drawdown
FROM equity_1d_cagg e JOIN accounts a USING (account);

-- What sits in quarantine and what has become of it: open, retried or dropped; the first step counts.
CREATE VIEW quarantine_items AS
SELECT q.seq, q.n, q.kind, q.source, q.ts, q.reason, q.detail, q.known_at, coalesce(s.step, 'open') AS status,
    s.seq AS step_seq, s.issued_by, s.reason AS step_reason
FROM quarantine q
LEFT JOIN LATERAL (
    SELECT * FROM quarantine_steps WHERE item_seq = q.seq AND item_n = q.n ORDER BY seq LIMIT 1
) s ON true;
