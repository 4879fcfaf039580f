"""log p of images under trained models."""
