"""The kinds of runs: what each is named by, reads, and sees of the configuration."""
