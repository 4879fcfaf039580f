"""What several parts of engram agree on. (Values of artifacts' variables are in engram.files.artifacts.)"""

FDR = 0.05  # false discovery rate at which an image is called memorized

# The estimators that a reproduction of the paper sets side by side, by what they are called there.
AS_PUBLISHED_AND_CORRECTED = {"as published": "published", "corrected": "corrected"}
