"""The results of a study: scores, tests, costs and the answer. Layout and plots are in `report`."""
