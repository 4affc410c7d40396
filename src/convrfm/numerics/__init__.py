"""Arrays, patches, and seeded random draws."""
