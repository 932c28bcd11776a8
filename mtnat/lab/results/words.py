"""Figures with units for people, with as many digits as they need."""

from rich.filesize import pick_unit_and_suffix


def duration(seconds: float) -> str:
    """Returns a duration in seconds, minutes or hours."""
    if seconds < 90:
        return f"{max(0, seconds):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Returns a number of bytes in bytes, kB, MB, GB or TB, in powers of 1,000."""
    unit, name = pick_unit_and_suffix(int(count), ["bytes", "kB", "MB", "GB", "TB"], 1_000)
    return f"{count / unit:.1f} {name}" if unit > 1_000 and count < 10 * unit else f"{count / unit:.0f} {name}"


def plain(metric: str, value: float) -> str:
    """Returns the value of a metric with a sensible number of digits."""
    if metric == "valid.bleu":
        return f"{value:.1f}"
    if metric == "valid.loss":
        return f"{value:.3f}"
    if metric == "model.parameters":
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def with_unit(metric: str, value: float) -> str:
    """Returns the value of a metric with its unit; BLEU has none."""
    return plain(metric, value) + {"valid.bleu": "", "valid.loss": "", "model.parameters": " weights"}.get(metric, " s")
