"""What the platform itself costs."""
