"""Distributions of pixels given what a decoder says of them."""
