"""Model files: metadata, checkpoints, formats and the predictors that need no torch."""
