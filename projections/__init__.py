"""Read models: tables folded from a tape. Pure, but for `shell`, which writes them to PostgreSQL."""
