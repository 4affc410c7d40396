"""One module for each figure: runs in, tidy table, figure and caption out."""
