"""What is done to jobs by the order of writes: submit, claims, attempts, monitor, collect."""
