-- PostgreSQL without TimescaleDB: views take the place of continuous aggregates, with their names and columns.

CREATE INDEX candles_by_ts ON candles USING brin (ts);
CREATE INDEX equity_by_ts ON equity USING brin (ts);
