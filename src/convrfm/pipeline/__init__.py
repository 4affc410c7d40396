"""The top room: configuration, run folders and their records, and the jobs that the workflow calls."""
