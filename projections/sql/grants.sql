-- The grants of one schema (%(old)s) and of what is in it, as statements that give them in another (%(new)s).
SELECT format('GRANT %%s ON %%s TO %%s%%s', what.privilege_type, what.target,
    CASE WHEN what.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END,
    CASE WHEN what.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM (
    SELECT a.*, c.relowner AS owner, format('%%I.%%I', %(new)s::text, c.relname) AS target
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
    WHERE c.relnamespace = to_regnamespace(quote_ident(%(old)s)) AND c.relkind IN ('r', 'v', 'm', 'p')
        AND to_regclass(format('%%I.%%I', %(new)s::text, c.relname)) IS NOT NULL
    UNION ALL
    SELECT a.*, n.nspowner, format('SCHEMA %%I', %(new)s::text)
    FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a WHERE n.oid = to_regnamespace(quote_ident(%(old)s))
) what LEFT JOIN pg_roles r ON r.oid = what.grantee
WHERE what.grantee <> what.owner AND (what.grantee = 0 OR r.oid IS NOT NULL)
