"""Stores: records in SQLite or PostgreSQL, bytes in a folder or an object store. Knows no HTTP and no verbs."""
