"""Run folders, progress and trackers."""
