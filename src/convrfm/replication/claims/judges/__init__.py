"""The judges: a function for each claim and figure that reads numbers from the figure's table. No threshold stands here.

A module holds the judges of one figure or of a family; the figure's own job imports it, and no other.
"""
