"""The order of writes is decided here: submit, claim, finish, collect."""
