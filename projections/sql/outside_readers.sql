-- Views and materialised views in other schemas that read the schema %(schema)s.
SELECT DISTINCT v.oid::regclass::text
FROM pg_depend d
JOIN pg_rewrite w ON w.oid = d.objid AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
JOIN pg_class v ON v.oid = w.ev_class
JOIN pg_namespace n ON n.oid = v.relnamespace
JOIN pg_class t ON t.oid = d.refobjid
WHERE t.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND v.relnamespace <> t.relnamespace
    AND n.nspname !~ '^_timescaledb'
