"""The order of writes is decided here, and what a job's files hold.

before    readers/, observations_file, orbits_file, config_file, choose_orbits, inputs; take_in, incoming_tables
order     submit, claim, status_file, run_attempt (task_inputs, checkpoints, claims, upload_outputs), finish
watch     monitor, task_report, jobs_list, task_sight
after     collect, merge_results, recovered_tables, completeness, results; report, plots, sky_map, ades_file
operate   retry, cancel, repair, drain_dead, delete, clean_up, doctor_bucket, doctor_machine, doctor_queue
"""
