"""The exit code and message of an interrupted or failed study."""

from pathlib import Path

import pytest

from mtnat.errors import ConfigError, StudyError
from mtnat.lab.command import ended_by
from mtnat.lab.driver.interruption import Interruption
from mtnat.lab.study.options import Options

STUDY = Path("studies/x.yaml")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a library's"), StudyError("a worker was gone")])
def test_after_a_signal_every_error_is_reported_as_an_interruption(error: BaseException) -> None:
    interruption = Interruption()
    with pytest.raises(KeyboardInterrupt):
        interruption(2, None)
    code, words = ended_by(error, interruption, Options(study=STUDY, command=("mtnat", "tune", "my x.yaml")))
    assert code == 130
    assert "`mtnat tune 'my x.yaml' --resume`" in words


def test_without_a_signal_user_errors_are_reported_and_other_errors_are_raised() -> None:
    assert ended_by(ConfigError(["one.", "two."]), Interruption(), Options(study=STUDY)) == (2, "one.\ntwo.")
    with pytest.raises(RuntimeError, match="unforeseen"):
        ended_by(RuntimeError("unforeseen"), Interruption(), Options(study=STUDY))
