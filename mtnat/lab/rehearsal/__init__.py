"""Before a study runs: the dry run with its estimate, and the smoke run."""
