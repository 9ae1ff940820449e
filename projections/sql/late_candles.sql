-- How many of the late rows are of times that were not known: the others only change what is there.
UPDATE series s SET rows = s.rows + new.rows
FROM (
    SELECT l.venue, l.symbol, l.timeframe, count(*) AS rows
    FROM stage_candles l LEFT JOIN candles c USING (venue, symbol, timeframe, ts)
    WHERE c.seq IS NULL GROUP BY l.venue, l.symbol, l.timeframe
) new
WHERE s.venue = new.venue AND s.symbol = new.symbol AND s.timeframe = new.timeframe
