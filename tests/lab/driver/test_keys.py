"""Keys of a cloud are not sent to Ray's actors."""

import pytest
from ray.tune.execution import class_cache

from mtnat.lab.driver.keys import withhold_keys


def test_tune_sends_no_key_of_a_cloud_to_its_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would write it to its logs; tests/chaos/test_closed_by_default.py reads them."""
    name = "AWS_SECRET_ACCESS_KEY"
    # An earlier test may have connected in this process, so the names are not those that Tune begins with.
    monkeypatch.setattr(class_cache, "ENV_VARS_TO_PROPAGATE", {*class_cache.ENV_VARS_TO_PROPAGATE, name})
    monkeypatch.setenv(name, "secret")

    def sent(name: str) -> str:
        class_ = type(name, (), {})
        return repr(class_cache._ActorClassCache().get(class_)._default_options)  # type: ignore[no-untyped-call]

    assert "secret" in sent("Before")
    withhold_keys()
    assert "env_vars" in sent("After")
    assert "secret" not in sent("After")
