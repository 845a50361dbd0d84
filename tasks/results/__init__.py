"""What comes out: a job's recovered orbits as tables, as a report with plots, and as ADES.

job_results   everything that collect leaves in a directory
tables        merge_results, recovered_tables, adam_core_tables, completeness
pictures      report, plots, orbit_plots, sky_map; task_plot_data and task_plots for one task in Prefect
ADES          ades_file
read again    result_files, for people who work in Python
"""
