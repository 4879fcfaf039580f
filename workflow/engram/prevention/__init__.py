"""Sampling that moves away from memorized images: pure functions over models that predict noise."""
