"""The replication of arXiv 2309.00570: configuration, runs, figures, claims and audit."""
