"""What the runs amount to. Nothing is drawn or laid out here."""
