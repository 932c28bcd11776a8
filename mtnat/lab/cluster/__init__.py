"""The Ray cluster: the connection to it, and the room on its machines."""
