"""What people see of a job and its tasks in Prefect, beside the work, which never waits for it."""
