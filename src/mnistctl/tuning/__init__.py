"""Hyperparameter search: studies, their trials, and the processes that run them."""
