"""What can be looked at before a study runs."""
