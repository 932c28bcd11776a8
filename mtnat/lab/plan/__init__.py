"""The plan of a study: which run is next, and the settings of the trials. It uses neither Ray nor MLflow."""
