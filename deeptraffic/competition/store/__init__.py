"""What a competition remembers, in SQLite or PostgreSQL: people, submissions (which are the queue), results, audit."""
