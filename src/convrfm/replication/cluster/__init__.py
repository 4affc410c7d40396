"""What a scheduler is asked for."""
