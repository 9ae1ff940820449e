-- Compression (TSL licence), well after the time in which gaps are filled: late rows into compressed chunks are slow.
-- Nothing is ever deleted: retention is off, because the tape would only bring it back at the next rebuild.

ALTER TABLE candles SET (timescaledb.compress, timescaledb.compress_segmentby = 'venue, symbol, timeframe',
    timescaledb.compress_orderby = 'ts DESC');
ALTER TABLE equity SET (timescaledb.compress, timescaledb.compress_segmentby = 'account',
    timescaledb.compress_orderby = 'ts DESC');
SELECT add_compression_policy('candles', INTERVAL '90 days');
SELECT add_compression_policy('equity', INTERVAL '90 days');
