"""Other formats for a model, and the check that they say what PyTorch says."""
