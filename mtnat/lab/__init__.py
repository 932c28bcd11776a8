"""The study platform: the only package here that uses Ray, Optuna and MLflow."""

import os

# No usage data is sent anywhere. The libraries read these variables when they are imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
