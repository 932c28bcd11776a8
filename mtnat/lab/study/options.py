"""How to run a study."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run a study; what it computes is in its file."""

    study: Path
    outputs: Path = Path("outputs")
    resume: bool = False
    dry_run: bool = False
    """Shows what the study is going to do, and does nothing."""
    smoke: bool = False
    """Runs it cut down to a minute or so, in a folder of its own."""
    tracking_uri: str | None = None
    address: str | None = None
    """Of a running Ray cluster; None starts one on this machine."""
    storage: str | None = None
    """URI of a folder through which machines that share no file system exchange what runs make; None where they share one."""
    verbose: bool = False
