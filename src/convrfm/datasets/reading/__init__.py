"""Reading of every data set from its official format on disk."""
