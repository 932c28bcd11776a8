"""The study platform, the only room that knows Ray, Optuna and MLflow."""

import os

# Nobody outside is told what runs here; these are read when the libraries are imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
