"""Pages, schemas and locks that are generated: from the configuration, the data sets, the claims, and measured numbers."""
