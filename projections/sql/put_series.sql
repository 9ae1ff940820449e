INSERT INTO series {0}
ON CONFLICT (venue, symbol, timeframe) DO UPDATE SET
    first_ts = least(series.first_ts, excluded.first_ts), last_ts = greatest(series.last_ts, excluded.last_ts),
    rows = series.rows + excluded.rows, seq = excluded.seq, known_at = excluded.known_at
