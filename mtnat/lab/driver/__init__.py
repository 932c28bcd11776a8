"""The process that carries a study out on Ray."""
