"""MLflow with PostgreSQL as its database."""

from collections.abc import Callable, Iterator

import pytest
from mlflow import MlflowClient
from postgres import Postgres, postgres
from test_opening import opening

from mtnat.errors import ResourceError
from mtnat.lab.tracking.mlflow_tracker import MlflowTracker
from mtnat.lab.tracking.opening import open_tracker
from mtnat.lab.tracking.tracker import Tracker
from mtnat.testing.tracker_contract import TrackerContract

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


class TestMlflowTrackerOnPostgres(TrackerContract):
    @pytest.fixture
    def reopen(self, server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Tracker]:
        files = tmp_path_factory.mktemp("files").as_uri()
        return lambda: MlflowTracker(server.uri(), "mtnat", files)


def test_three_studies_that_fill_one_new_database_at_once_all_have_it(server: Postgres) -> None:
    server.execute("CREATE DATABASE shared")
    processes = [opening(server.uri("shared")) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=900)
        assert (process.returncode, errors) == (0, "")
    assert len(MlflowClient(server.uri("shared")).search_experiments()) == 2  # MLflow's own, and that of the studies


@pytest.mark.parametrize(
    ("database", "password", "reason"),
    [
        ("missing", Postgres.PASSWORD, 'database "missing" does not exist'),
        ("postgres", "a-wrong-word", "password authentication"),
    ],
)
def test_a_database_that_cannot_be_opened_is_one_sentence_without_the_password(
    server: Postgres, database: str, password: str, reason: str
) -> None:
    with pytest.raises(ResourceError) as caught:
        open_tracker(server.uri(database, password), "mtnat")
    (problem,) = caught.value.problems
    assert reason in problem
    assert password not in problem
    assert "\n" not in problem
