-- With TimescaleDB. Chunks of 30 days: what minutes of 25 symbols write into stays a few hundred megabytes, and
-- decades of history stay some hundred chunks.

SELECT create_hypertable('candles', by_range('ts', INTERVAL '30 days'), create_default_indexes => true);
SELECT create_hypertable('equity', by_range('ts', INTERVAL '30 days'), create_default_indexes => true);
