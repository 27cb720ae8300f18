"""What alembic runs: the migrations, on the connection and in the transaction that migrations.upgrade opened."""

from alembic import context

from headwater.storage.tables import metadata

# SQLite's DDL is transactional too, as database.py begins its transactions.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata,
                  transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
