"""Figures, captions and the tables they are drawn from. Importing it without Matplotlib says which extra is missing."""

from convrfm.extras import require

require("workflow", "matplotlib", "seaborn", what="Drawing")
