"""Metrics, reports, corrupted test images and plots."""
