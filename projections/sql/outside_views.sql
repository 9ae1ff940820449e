-- Views in other schemas that read tables or views of the schema %(schema)s: statements that make them again.
SELECT DISTINCT format('CREATE OR REPLACE VIEW %%I.%%I AS %%s', n.nspname, v.relname, pg_get_viewdef(v.oid))
FROM pg_depend d
JOIN pg_rewrite w ON w.oid = d.objid AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
JOIN pg_class v ON v.oid = w.ev_class AND v.relkind = 'v'
JOIN pg_namespace n ON n.oid = v.relnamespace
JOIN pg_class t ON t.oid = d.refobjid
WHERE t.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND v.relnamespace <> t.relnamespace
    AND n.nspname !~ '^_timescaledb'
