"""What other tests see: one question a module."""
