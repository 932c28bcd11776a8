"""The training of a run, in an actor of Ray Tune or in workers of Ray Train."""
