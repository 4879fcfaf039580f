"""What the paper printed, and what we find."""
