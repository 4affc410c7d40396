"""What surrounds a job: its settings and files, its record, the hash of its code, a GPU."""
