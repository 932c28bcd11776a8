"""Addresses of MLflow: a database file, a database server, or a tracking server."""

import os
import re
import shlex
import socket
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mtnat.errors import ConfigError, ResourceError
from mtnat.process import typed

SERVER = re.compile(r"https?://")
"""Beginning of the address of a tracking server."""
DATABASE = re.compile(r"(sqlite|mysql|postgresql|mssql)(\+\w+)?://")
"""Beginning of the address of a database."""
SECONDS_TO_ANSWER = 10.0
_PORTS = {"http": 80, "https": 443, "mysql": 3306, "postgresql": 5432, "mssql": 1433}
"""The ports of addresses that name none."""
_PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""The packages of modules with other names."""
_MOST_REASON = 300
_DATABASE_FILE = re.compile(r"sqlite(\+\w+)?:///")
_PASSWORD = re.compile(r"(?<=://)([^/?#@:]*):([^/?#]*)@")


def default_uri() -> str:
    """Returns the URI of the database that ``mlflow ui`` opens in the current folder without arguments."""
    folder = str(Path.cwd())
    # `?` and `%` have a meaning in an address, and MLflow and SQLAlchemy differ in how they read them.
    return "sqlite:///mlflow.db" if re.search("[%?]", folder) else f"sqlite:///{Path(folder) / 'mlflow.db'}"


def chosen_uri(given: str | None = None) -> str:
    """Returns the address to use: the given one, ``$MLFLOW_TRACKING_URI``, or the default."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or default_uri()


def check_address(uri: str) -> None:
    """Checks an address without connecting to it.

    Raises:
        ConfigError: MLflow cannot be there.
    """
    if not (SERVER.match(uri) or DATABASE.match(uri)):
        raise ConfigError(
            f"--tracking-uri: must be a database such as sqlite:///mlflow.db, or a server such as http://HOST:5000; "
            f"got {without_password(uri)}."
        )


def check_answers(uri: str) -> None:
    """Checks that something answers at an address, if it is that of a server, and that a database can be connected to. MLflow
    would try for minutes.

    Raises:
        ResourceError: nothing answers, or the database cannot be opened.
    """
    parts = urlsplit(uri)
    if parts.scheme.startswith("sqlite"):
        return
    try:
        if host := parts.hostname:  # a database of this machine needs none
            port = parts.port or _PORTS[parts.scheme.partition("+")[0]]
            socket.create_connection((host, port), SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"--tracking-uri {without_password(uri)}: no server answers ({error}); start it, or correct the address."
        ) from None
    if DATABASE.match(uri):
        _connect(uri)


def _connect(uri: str) -> None:
    import sqlalchemy

    shown = without_password(uri)
    try:
        engine = sqlalchemy.create_engine(uri)
        engine.connect().close()
        engine.dispose()
    except ModuleNotFoundError as error:
        package = _PACKAGES.get(error.name or "", error.name)
        raise ResourceError(
            f"--tracking-uri {shown}: needs the driver of this database; install it: pip install '{package}'."
        ) from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise ResourceError(
            f"--tracking-uri {shown}: cannot be used ({reason_of(error)}); correct it, or give another address."
        ) from None


def reason_of(error: Exception) -> str:
    """Returns the beginning of the message of an error, in one line and without passwords."""
    words = " ".join(without_password(str(error)).split())
    return words[:_MOST_REASON].rstrip(". ") or type(error).__name__


def database_file(uri: str) -> Path | None:
    """Returns the absolute path of the file of an SQLite database; None for all other addresses."""
    if not (beginning := _DATABASE_FILE.match(uri)):
        return None
    path = unquote(uri[beginning.end() :].partition("?")[0])
    return None if path.startswith(("file:", ":")) or not path else Path(path).absolute()


def without_password(text: str) -> str:
    """Returns a text, such as an address or an error message, without the passwords of the addresses in it."""
    return _PASSWORD.sub(r"\1:***@", text)


def way_to_compare(uri: str) -> str:
    """Returns how to look at the runs: the command that shows them, or the address of the server."""
    if SERVER.match(uri):
        parts = urlsplit(uri)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    command = f"{typed('mlflow')} ui"
    return command if uri == default_uri() else f"{command} --backend-store-uri {shlex.quote(without_password(uri))}"
