"""Benchmarks of the platform itself: `bench study`."""
