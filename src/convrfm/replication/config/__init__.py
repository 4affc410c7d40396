"""The configuration: config.yaml, the presets, and what a job of each rule takes."""
