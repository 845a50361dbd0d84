"""What operators do with jobs, each verb a module on top of the order of writes in `tasks.jobs`.

before    incoming_tables, take_in
look      task_report, jobs_list
change    retry, cancel, repair, drain_dead, delete, clean_up
check     doctor_bucket, doctor_machine, doctor_queue
"""
