"""The figures, a module for each. Importing them without Matplotlib says which extra is missing."""

from convrfm.system.machine import require

require("workflow", "matplotlib", "seaborn", what="Drawing")
