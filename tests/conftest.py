"""Fixtures every part may use. The PostgreSQL cluster is in conftest_postgres.py."""

pytest_plugins = ["conftest_postgres"]
