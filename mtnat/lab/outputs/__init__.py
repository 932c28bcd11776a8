"""What a study leaves on the disk."""
