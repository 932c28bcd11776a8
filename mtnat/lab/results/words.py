"""Figures in words, in as many digits as a person needs."""


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(0, seconds):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Bytes as a person says them."""
    for power, unit in ((9, "GB"), (6, "MB")):
        if count >= 10**power:
            return f"{count / 10**power:.0f} {unit}" if count >= 10 ** (power + 1) else f"{count / 10**power:.1f} {unit}"
    return f"{count / 1000:.0f} kB"


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
