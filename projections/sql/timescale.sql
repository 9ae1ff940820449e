-- Whether the extension is created, and else whether it is loaded: creating it unloaded would end the connection.
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb'),
    EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') AND EXISTS (
        SELECT FROM pg_settings WHERE name = 'shared_preload_libraries' AND setting LIKE '%timescaledb%'
    )
