"""Ray as a place: the connection to it, and the room that its machines have."""
