"""Training settings, architectures and recipes, without torch."""
