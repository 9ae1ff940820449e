-- Questions for psql and Grafana. Nothing runs this file.
SET search_path TO tickertape;

-- How far is it, and is there anything it could not show?
SELECT tape, seq, version FROM checkpoints;
SELECT * FROM parked ORDER BY seq DESC LIMIT 20;
SELECT kind, source, reason, detail, encode(raw, 'escape') FROM quarantine ORDER BY seq DESC LIMIT 20;
SELECT seq, n, source, reason, detail FROM quarantine_items WHERE status = 'open' ORDER BY seq DESC LIMIT 20;

-- Which markets are behind, or have holes?
SELECT * FROM sync_status ORDER BY open_gaps DESC, last_ts;
SELECT * FROM gaps WHERE state = 'found' ORDER BY first_ts DESC LIMIT 50;

-- What is open, and what is it worth?
SELECT * FROM positions ORDER BY abs(unrealized) DESC;
SELECT * FROM orders WHERE status IN ('open', 'triggered', 'partial') ORDER BY ts;
SELECT * FROM account_performance;

-- How do the bots do?
SELECT account, bot, trades, win_rate, profit_factor, pnl, fees, max_drawdown FROM performance ORDER BY pnl DESC;
SELECT * FROM daily_pnl ORDER BY account, day DESC;
SELECT exit_role, count(*), sum(pnl) FROM trades GROUP BY exit_role ORDER BY 2 DESC;

-- Why was there no order? The verdict on each signal.
SELECT s.ts, s.bot, s.target, r.approved, r.reason, r.detail
FROM signals s LEFT JOIN risk r ON r.signal = s.id ORDER BY s.seq DESC LIMIT 50;

-- Slippage against the signal's price, in basis points, positive is worse.
SELECT f.bot, avg((f.price - s.price::numeric) / s.price::numeric * CASE f.side WHEN 'buy' THEN 10000 ELSE -10000 END)
FROM fills f JOIN orders o USING (account, order_id)
JOIN LATERAL (
    SELECT price FROM signals WHERE bot = f.bot AND seq < f.seq AND price > 0 ORDER BY seq DESC LIMIT 1
) s ON true WHERE f.role = 'entry' GROUP BY f.bot;

-- How long after its event was a candle known? (Live tapes only.)
SELECT venue, symbol, timeframe, percentile_cont(0.99) WITHIN GROUP (ORDER BY known_at - ts) AS p99
FROM candles WHERE origin = 'live' GROUP BY venue, symbol, timeframe;

-- Grafana, time series: equity and drawdown.
SELECT ts AS "time", account, equity, drawdown FROM equity WHERE ts BETWEEN now() - interval '1 day' AND now() ORDER BY ts;

-- Who writes, and what halted?
SELECT * FROM actors ORDER BY state DESC, actor;
