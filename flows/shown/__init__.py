"""What people see of a job and its tasks in Prefect, which shows the work and never owns it."""
