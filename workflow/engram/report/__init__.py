"""The pages a reader sees."""
