"""The sections of the presets, a module for each figure."""
