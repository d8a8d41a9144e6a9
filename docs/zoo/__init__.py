"""Which networks `make_variable` converts, and what it makes of them: a table, by one command."""
