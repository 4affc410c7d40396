"""Arrays and settings that callers pass, patches and their metrics, and seeded random draws."""
