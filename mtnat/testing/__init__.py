"""Contracts: tests that every system, and every implementation of a port, has to pass, for pytest.

A test class that inherits a contract and overrides its fixture runs all of its tests:

    class TestMyTracker(TrackerContract):
        @pytest.fixture
        def reopen(self) -> Callable[[], Tracker]: ...
"""

import pkgutil

import pytest

# pytest explains a failed assertion only in modules that it knows of before they are imported.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
