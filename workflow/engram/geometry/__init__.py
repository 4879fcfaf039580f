"""Dimensions, of the data and of what models learned of it, at an image: pure functions over arrays and models."""
