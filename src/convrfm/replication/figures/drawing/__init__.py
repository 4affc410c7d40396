"""Jobs of figures."""
