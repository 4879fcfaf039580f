"""What several parts of engram agree on. (Values of artifacts' variables are in engram.files.artifacts.)"""

FDR = 0.05  # false discovery rate at which an image is called memorized

# Columns of a comparison with the paper, and the estimators behind them: the paper's recipe, and ours.
AS_PUBLISHED_AND_CORRECTED = {"as_published": "published", "corrected": "corrected"}
