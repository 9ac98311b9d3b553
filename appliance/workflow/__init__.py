"""The study state table, intake, analyst process and delivery outbox."""
