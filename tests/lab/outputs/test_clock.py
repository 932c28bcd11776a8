"""A study's clock continues from its saved time."""

from pathlib import Path

from mtnat.lab.outputs.clock import Clock


def test_the_clock_continues_from_its_saved_time(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    path.write_text("3600.5")
    clock = Clock(path)
    assert clock.seconds >= 3600.5
    clock.tick()
    assert path.read_text() == "3600.5"  # not yet due
    clock.save()
    again = Clock(path)
    assert 3600.4 <= again.seconds < 3700
