"""The study file: its records, and how it is read and checked."""
