"""The keys of a cloud, which stay on the machine that has them."""

from ray.tune.execution import class_cache


def withhold_keys() -> None:
    """Keeps Tune from sending the keys of a cloud to its actors.

    It would send them as settings of the actors, which Ray writes to its logs and shows in its dashboard. On this machine the
    actors inherit them; other machines have their own.
    """
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")}
