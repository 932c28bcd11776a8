"""Results for people to read. Nothing is computed here."""
