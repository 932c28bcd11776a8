"""Where curves and files are kept for people to compare: MLflow, and a tracker in memory."""
