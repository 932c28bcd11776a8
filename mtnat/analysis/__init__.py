"""Analyses of trained models: what their encoders represent, and how they come to a translation."""
