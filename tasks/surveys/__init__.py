"""A survey, night after night: tables are taken in, each night is linked with those before it, objects grow."""
