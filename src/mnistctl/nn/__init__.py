"""PyTorch: the nets, their training, and a checkpoint as a predictor."""
