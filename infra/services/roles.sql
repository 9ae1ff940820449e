-- The projector owns the database and what it makes there; the viewer reads all of it, also what is made later.
ALTER DATABASE postgres OWNER TO tickertape_projector;
REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC;
ALTER ROLE tickertape_viewer SET default_transaction_read_only = on;
ALTER DEFAULT PRIVILEGES FOR ROLE tickertape_projector GRANT USAGE ON SCHEMAS TO tickertape_viewer;
ALTER DEFAULT PRIVILEGES FOR ROLE tickertape_projector GRANT SELECT ON TABLES TO tickertape_viewer;
-- What was made by another user before there were roles.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tickertape%' AND nspowner = 'postgres'::regrole LOOP
        EXECUTE format('ALTER SCHEMA %I OWNER TO tickertape_projector', found.nspname);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO tickertape_viewer', found.nspname);
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO tickertape_viewer', found.nspname);
    END LOOP;
    FOR found IN
        SELECT c.oid::regclass::text AS name, c.relkind AS kind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname LIKE 'tickertape%' AND relowner = 'postgres'::regrole AND relkind IN ('r', 'p', 'v', 'm')
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO tickertape_projector',
            CASE found.kind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, found.name);
    END LOOP;
END $$;
