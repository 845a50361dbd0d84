"""What is written down: ids, manifest, message, status, progress. Pure and frozen, no I/O."""
