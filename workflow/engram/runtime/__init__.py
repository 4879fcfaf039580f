"""Where, and inside what, a job runs."""
