"""How a study is run."""

import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command line's options: how a study is run. What it computes is in the study file."""

    study: Path
    outputs: Path = Path("outputs")
    resume: bool = False
    dry_run: bool = False
    """Shows what the study is going to do, and starts nothing."""
    smoke: bool = False
    """Runs a reduced copy of the study in about a minute, in a separate folder."""
    tracking_uri: str | None = None
    address: str | None = None
    """Address of a running Ray cluster; None starts Ray on this machine."""
    storage: str | None = None
    """URI of a folder through which machines without a shared file system exchange files of runs; None if they share one."""
    verbose: bool = False
    command: tuple[str, ...] = ()
    """The words with which the study was started, such as ``mtnat``, ``tune``, ``quickstart``, and the options that have to be
    repeated to continue it."""

    @property
    def resume_command(self) -> str:
        """The command that continues the study, as it is typed in a shell."""
        return shlex.join((*self.command, "--resume"))
