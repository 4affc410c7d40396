"""The entries of the registry: where data come from, what they hold, and their traps.

Layouts are those that torchvision's loaders expect, with the folder of the data set as their root. Checksums are the
published ones, which torchvision checks as well.
"""
