"""The order of writes is decided here.

before    incoming_tables, take_in
order     submit, claim, status_file, run_attempt (task_inputs, checkpoints, claims, upload_outputs), finish
watch     monitor, task_report, jobs_list
after     collect
operate   retry, cancel, repair, drain_dead, delete, clean_up, doctor_bucket, doctor_machine, doctor_queue
"""
