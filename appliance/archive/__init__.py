"""One SQLite database that owns all state, and the instance files. No network."""
