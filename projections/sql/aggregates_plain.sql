-- The views that are continuous aggregates where TimescaleDB has them: see aggregates_timescale.sql.
-- Sums go through numeric, so that the order of rows makes no difference.

CREATE VIEW candles_1h_cagg AS
SELECT venue, symbol, timeframe,
    date_bin('1 hour', ts, TIMESTAMPTZ '2000-01-01 00:00:00.000001+00') AS bucket,
    (array_agg(open ORDER BY ts))[1] AS open, max(high) AS high, min(low) AS low,
    (array_agg(close ORDER BY ts DESC))[1] AS close, sum(volume::numeric)::float8 AS volume, count(*) AS bars
FROM candles WHERE timeframe IN ('1m', '5m', '15m', '30m') GROUP BY venue, symbol, timeframe, bucket;

CREATE VIEW candles_1d_cagg AS
SELECT venue, symbol, timeframe,
    date_bin('1 day', ts, TIMESTAMPTZ '2000-01-01 00:00:00.000001+00') AS bucket,
    (array_agg(open ORDER BY ts))[1] AS open, max(high) AS high, min(low) AS low,
    (array_agg(close ORDER BY ts DESC))[1] AS close, sum(volume::numeric)::float8 AS volume, count(*) AS bars
FROM candles WHERE timeframe IN ('1m', '5m', '15m', '30m', '1h', '4h') GROUP BY venue, symbol, timeframe, bucket;

CREATE VIEW equity_1d_cagg AS
SELECT account, date_bin('1 day', ts, TIMESTAMPTZ '2000-01-01 00:00:00.000001+00') AS bucket,
    (array_agg(equity ORDER BY ts DESC))[1] AS equity, min(equity) AS low, max(equity) AS high,
    max(drawdown) AS max_drawdown
FROM equity GROUP BY account, bucket;
