SELECT md5(coalesce(string_agg(h, '' ORDER BY h COLLATE "C"), '')) FROM (SELECT md5({}::text) AS h FROM {}) rows
