-- Continuous aggregates for dashboards (TSL licence). Real-time: rows newer than the last refresh are added in.
-- Refreshes look at all of time: a gap filled or a bar revised long ago invalidates its bucket, and nothing else.

CREATE MATERIALIZED VIEW candles_1h_cagg
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT venue, symbol, timeframe,
    time_bucket('1 hour', ts, origin => TIMESTAMPTZ '2000-01-01 00:00:00.000001+00') AS bucket,
    first(open, ts) AS open, max(high) AS high, min(low) AS low, last(close, ts) AS close,
    sum(volume::numeric)::float8 AS volume, count(*) AS bars
FROM candles WHERE timeframe IN ('1m', '5m', '15m', '30m') GROUP BY venue, symbol, timeframe, 4 WITH NO DATA;

CREATE MATERIALIZED VIEW candles_1d_cagg
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT venue, symbol, timeframe,
    time_bucket('1 day', ts, origin => TIMESTAMPTZ '2000-01-01 00:00:00.000001+00') AS bucket,
    first(open, ts) AS open, max(high) AS high, min(low) AS low, last(close, ts) AS close,
    sum(volume::numeric)::float8 AS volume, count(*) AS bars
FROM candles WHERE timeframe IN ('1m', '5m', '15m', '30m', '1h', '4h') GROUP BY venue, symbol, timeframe, 4 WITH NO DATA;

CREATE MATERIALIZED VIEW equity_1d_cagg
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT account, time_bucket('1 day', ts, origin => TIMESTAMPTZ '2000-01-01 00:00:00.000001+00') AS bucket,
    last(equity, ts) AS equity, min(equity) AS low, max(equity) AS high, max(drawdown) AS max_drawdown
FROM equity GROUP BY account, 2 WITH NO DATA;

SELECT add_continuous_aggregate_policy('candles_1h_cagg', start_offset => NULL, end_offset => INTERVAL '2 hours',
    schedule_interval => INTERVAL '15 minutes');
SELECT add_continuous_aggregate_policy('candles_1d_cagg', start_offset => NULL, end_offset => INTERVAL '2 days',
    schedule_interval => INTERVAL '1 hour');
SELECT add_continuous_aggregate_policy('equity_1d_cagg', start_offset => NULL, end_offset => INTERVAL '2 days',
    schedule_interval => INTERVAL '1 hour');
