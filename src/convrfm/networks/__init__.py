"""The finite networks of the paper, a module for each family."""
