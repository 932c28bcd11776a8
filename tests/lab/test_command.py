"""The exit code and message of an interrupted or failed study."""

import argparse
import errno
import shlex
from pathlib import Path

import pytest

from mtnat.errors import ConfigError, DiskFullError, NoAnswerError, StudyError
from mtnat.lab.cluster.interruption import Interruption
from mtnat.lab.command import add, ended_by, options_of
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


def test_the_command_that_continues_a_study_repeats_every_option_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    given = ["quickstart", "--outputs", "my out", "--tracking-uri", "http://me:secret@host:5000", "--address", "10.0.0.1:6379"]
    given += ["--storage", "s3://a bucket/x", "--verbose"]
    parser = argparse.ArgumentParser(prog="python tune.py")
    add(parser)
    command = options_of(parser.parse_args(given)).resume_command
    words = ["--tracking-uri", "http://me:***@host:5000"]
    assert shlex.split(command) == ["python", "tune.py", *given[:3], *words, *given[5:], "--resume"]
    assert options_of(parser.parse_args(["quickstart"])).resume_command == "python tune.py quickstart --resume"


def test_a_study_without_an_answer_is_no_success() -> None:
    assert ended_by(NoAnswerError("no run ended well"), Interruption(), Options(study=STUDY)) == (1, "no run ended well")


@pytest.mark.parametrize("error", [DiskFullError("x: No space left on device"), OSError(28, "No space left on device", "x")])
def test_a_full_disk_is_told_with_the_command_that_continues(error: Exception) -> None:
    code, words = ended_by(error, Interruption(), Options(study=STUDY, command=("mtnat", "tune", "x")))
    assert code == 2
    assert words.endswith("; make room, then `mtnat tune x --resume` continues.")
    other = RuntimeError("unexpected pos")
    other.__cause__ = error
    assert ended_by(other, Interruption(), None) == (2, "unexpected pos; make room.")


def test_a_lost_ray_is_told_whatever_error_it_led_to() -> None:
    interruption = Interruption()
    interruption.lost = "Ray has ended on this machine"
    assert ended_by(RuntimeError("of a library"), interruption, None) == (2, "Ray has ended on this machine")
    with pytest.raises(KeyboardInterrupt):
        interruption.check()


def test_a_study_file_whose_name_is_too_long_is_one_sentence() -> None:
    error = OSError(errno.ENAMETOOLONG, "File name too long", "x.yaml")
    assert ended_by(error, Interruption(), None) == (2, "x.yaml: the name is too long for a file; give a shorter one.")
