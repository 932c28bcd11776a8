"""Where a run runs: in an actor of Ray Tune or in workers of Ray Train."""
