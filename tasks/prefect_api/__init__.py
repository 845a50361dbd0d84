"""Every word to and from a Prefect server. What is shown is not the work: see `switch`."""
