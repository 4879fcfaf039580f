"""Memorization scores and how far they can be trusted."""
