"""The bucket says what is true: object names, and stores that write by compare-and-swap."""
