"""The files of a study: its folder, its runs and their results."""
