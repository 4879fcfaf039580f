"""What several parts of engram agree on. (Values of artifacts' variables are in engram.files.artifacts.)"""

FDR = 0.05  # false discovery rate at which an image is called memorized

# Columns of a comparison with the paper, and the estimators behind them: the paper's recipe, and ours.
AS_PUBLISHED_AND_CORRECTED = {"as_published": "published", "corrected": "corrected"}

# Log p that comes from the user's files: the estimator's name, and, in a repeat's place, that of the file with all models.
GIVEN, ALL_MODELS = "given", "all"
NO_IMAGES = "no images"  # in place of a data set's checksum, where log p is given without images
DRAWS_OF_A_BOUND = 4  # of an audit, into which its evaluations are divided, so that its error is known
