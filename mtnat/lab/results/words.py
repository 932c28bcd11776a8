"""Figures in words, in as many digits as a person needs."""

from rich.filesize import pick_unit_and_suffix


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(0, seconds):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes as a person says them, in powers of 1,000."""
    unit, name = pick_unit_and_suffix(int(count), ["bytes", "kB", "MB", "GB", "TB"], 1_000)
    return f"{count / unit:.1f} {name}" if unit > 1_000 and count < 10 * unit else f"{count / unit:.0f} {name}"


def plain(metric: str, value: float) -> str:
    """A metric's value as text, in as many digits as can matter."""
    if metric == "valid.bleu":
        return f"{value:.1f}"
    if metric == "model.parameters":
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def with_unit(metric: str, value: float) -> str:
    """The same with its unit; BLEU has none."""
    return plain(metric, value) + {"valid.bleu": "", "model.parameters": " weights"}.get(metric, " s")
