"""Run folders: their files, progress and trackers."""
