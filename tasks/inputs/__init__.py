"""What people bring: read in whatever format it has, checked, and made the bytes that a job has in the bucket.

Knows files, not buckets. Every error names file, column and row, before anything is uploaded.

observations   observations_file, readers/ (a module for each format), canonical_file
test orbits    orbits_file, readers/orbit_tables, choose_orbits (`--orbits auto`)
settings       config_file, ades_settings with ades_rules, engine_of_job
together       job_inputs; table_file and csv_text below all of it, observatories
"""
