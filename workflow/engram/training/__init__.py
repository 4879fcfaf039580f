"""Training many models at once, resumable to the bit."""
