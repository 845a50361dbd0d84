"""What the commands have in common: options and exit codes, progress, the summary, the processes that they start."""
