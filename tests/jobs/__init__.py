"""What is done to jobs: submit, monitor, collect, and the operator's verbs."""
