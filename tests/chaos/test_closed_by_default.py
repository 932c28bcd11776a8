"""While a study runs, everything listens on the loopback interface only. Afterwards no secret is in anything that it wrote."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_server import Server, served
from test_whole_study import Desk, ended, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.ray]
SECRET = "s3cr3t"
"""In every secret."""
VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_SAS_TOKEN",
    "CI_JOB_TOKEN",
    "GITHUB_TOKEN",
    "GOOGLE_API_KEY",
    "HF_TOKEN",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "MLFLOW_TRACKING_CLIENT_CERT_PASSWORD",
    "OPENAI_API_KEY",
    "PGPASSWORD",
    "RAY_AUTH_TOKEN",
    "SQLALCHEMY_URL",
    "WANDB_API_KEY",
)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A temporary folder whose path is short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def desk(tmp_path: Path, short_folder: Path) -> Desk:
    """A desk whose processes know secrets, and write outside of the desk's folder only into the short one."""
    desk = Desk(tmp_path)
    secrets = {name: f"{SECRET}-{number}" for number, name in enumerate(VARIABLES)}
    desk.environment |= secrets | {"HOME": str(short_folder), "TMPDIR": str(short_folder)}
    return desk


@pytest.fixture
def server(desk: Desk) -> Iterator[Server]:
    with served(desk.folder) as server:
        yield server


def listeners(folder: Path) -> dict[str, set[str]]:
    """Returns the addresses at which the processes of a study listen, by the name of the process.

    Args:
        folder: $TMPDIR of the study, by which its processes are recognised.
    """
    found: dict[str, set[str]] = {}
    for line in subprocess.run(["ss", "-Hltunp"], capture_output=True, text=True, check=True).stdout.splitlines():
        columns = line.split()
        for part in line.split("pid=")[1:]:
            process = Path("/proc") / part.split(",")[0]
            try:
                if f"TMPDIR={folder}\0".encode() in (process / "environ").read_bytes():
                    found.setdefault((process / "comm").read_text().strip(), set()).add(columns[4].rpartition(":")[0])
            except OSError:  # it has ended meanwhile
                continue
    return found


def with_secrets(*folders: Path) -> dict[str, str]:
    """Returns the files in the folders that contain a secret, with the text around it."""
    found = {}
    for folder in folders:
        for path in (path for path in folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            if (place := content.find(SECRET.encode())) >= 0:
                found[str(path)] = content[max(0, place - 60) : place + 60].decode(errors="replace")
    return found


@pytest.mark.skipif(shutil.which("ss") is None, reason="needs the program ss, of the package iproute2")
def test_nothing_listens_to_other_machines_and_no_secret_is_written(desk: Desk, short_folder: Path, server: Server) -> None:
    desk.write(
        "s", baselines={"linear": {}}, search={"objective.schedule.kind": {"choice": ["cosine"]}}, trials=1, confirm=None
    )
    address = server.uri.replace("http://", f"http://{SECRET}-user:{SECRET}-password@")
    process = desk.start("s.yaml", "--tracking-uri", address)
    wait_until(lambda: any((desk.folder / "outputs" / "s").glob("runs/*/curves.jsonl")), process)
    open_to = listeners(short_folder)
    assert {"raylet", "gcs_server"} <= {name.split(" ")[0] for name in open_to}
    assert set.union(*open_to.values()) <= {"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"}, open_to
    out, errors = ended(process)
    assert (process.returncode, errors) == (0, "")
    assert SECRET not in out
    assert with_secrets(desk.folder, short_folder) == {}
