"""How it is done, in the order in which a job's data goes.

settings   the environment, read once            errors    what may go wrong, and what the worker does about it
wording    how numbers are told to people
records/   ids, manifest, message, status, progress: what is written down, and how a status may change
bucket/    the truth: object names, and a store with compare-and-swap (Google Cloud Storage, local directory)
broker/    the bell: a queue of messages (RabbitMQ, SQLite)
engines/   the numerics: detections and a test orbit in, recovered orbits out
compute    dask: blocks of exposures on threads or on a cluster
inputs/    people's files in: every format read and checked, and made the bytes that a job has
jobs/      the order of writes: submit, claim, finish, collect
operations/  the operator's verbs: retry, cancel, repair, delete, doctor, and tables that come in by themselves
results/   recovered orbits out: tables, report, plots, ADES
surveys/   night after night: tables in, each night linked with those before it, objects that grow
bootstrap  builds clients from settings and URLs
prefect_api/  every word to and from a Prefect server: the runs that people see, steps, set-up; never in the way
"""
