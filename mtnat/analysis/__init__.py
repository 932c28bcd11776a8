"""Analyses of trained models: what their encoders represent."""
