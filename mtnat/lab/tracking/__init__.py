"""Experiment tracking: the port, MLflow behind it, and a tracker in memory."""
