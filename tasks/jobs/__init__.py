"""The order of writes is decided here.

order     submit, claim, status_file, run_attempt (task_inputs, checkpoints, claims, upload_outputs), finish
watch     monitor
after     collect
"""
