"""What operators do with jobs, each verb on a directory and on Google Cloud Storage."""
