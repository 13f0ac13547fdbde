"""Persistent state of a competition in SQLite or PostgreSQL: people, submissions (the queue), results, audit."""
