"""Executors of long work: `local` runs it on threads of this process and remembers it in the database."""
