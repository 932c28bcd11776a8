"""Probing tasks: what a classifier finds in the encodings of sentences (Conneau et al. 2018)."""
