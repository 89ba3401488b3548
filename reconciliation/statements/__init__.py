"""Reading brokers' statements: pure, one format a file; `formats.read` is the door. docs/statements.md: what fits."""
