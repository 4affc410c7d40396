"""What the machine and the terminal have: memory, threads, GPUs, files, progress."""
