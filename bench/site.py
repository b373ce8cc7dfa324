"""A private nginx and php-fpm that serve the PHP client's example page."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness import ROOT, Failed, free_port, stop
from resident.lifeline import die_with_owner

CHILDREN = 16
APT = "apt-get install php-fpm nginx-light wrk"
_READY_WITHIN_S = 15.0
#: Debian keeps servers where only root's PATH looks, and has PHP's version in the name.
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
_PHP_VERSIONS = ("", "8.2", "8.3", "8.4", "8.5")
_PAGES = {
    "page.php": ROOT / "php_client" / "examples" / "page.php",
    "cut_off.php": ROOT / "bench" / "fpm" / "cut_off.php",
    "ended.php": ROOT / "bench" / "fpm" / "ended.php",
}
_FPM = """\
[global]
error_log = {folder}/fpm.log
daemonize = no
[bench]
{user}
listen = {folder}/fpm.sock
pm = static
pm.max_children = {children}
php_admin_flag[display_errors] = off
php_admin_flag[log_errors] = on
php_admin_value[error_log] = {folder}/php.log
{settings}
"""
_NGINX = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {pages}
    }}
}}
"""
_PAGE = """\
location = /{name} {{
            fastcgi_pass unix:{folder}/fpm.sock;
            fastcgi_param SCRIPT_FILENAME {file};
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param REQUEST_URI $request_uri;
        }}
"""


@dataclass(frozen=True)
class Site:
    """Where it listens, and what it is told.

    Attributes:
        folder: For sockets, logs and configurations; nobody else may look into it.
        environment: Of the pages.
        php: Settings of PHP's, by name.
        most_s: php-fpm ends a request that takes longer, in whole seconds; 0 none.
    """

    folder: Path
    environment: Mapping[str, str]
    php: Mapping[str, str] = field(default_factory=dict)
    most_s: int = 0
    port: int = field(default_factory=free_port)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serves; raises Failed if it cannot."""
        with self._started(self._fpm()), self._started(self._nginx()):
            self._wait()
            yield

    def mismatches(self) -> int:
        """How many the page itself has seen."""
        log = self.folder / "php.log"
        return log.read_text(errors="replace").count("mismatch:") if log.exists() else 0

    def _fpm(self) -> list[str]:
        root = os.geteuid() == 0
        lines = [f'env[{name}] = "{value}"' for name, value in self.environment.items()]
        lines += [f"php_admin_value[{name}] = {value}" for name, value in self.php.items()]
        lines.append(f"request_terminate_timeout = {self.most_s}s")
        text = _FPM.format(
            folder=self.folder,
            user="user = root\ngroup = root" if root else "",
            children=CHILDREN,
            settings="\n".join(lines),
        )
        command = [program("php-fpm"), "--nodaemonize", "--fpm-config"]
        return [*command, self._written("fpm.conf", text), *(["-R"] if root else [])]

    def _nginx(self) -> list[str]:
        pages = "".join(
            _PAGE.format(name=name, folder=self.folder, file=file) for name, file in _PAGES.items()
        )
        user = "user root;" if os.geteuid() == 0 else ""
        text = _NGINX.format(folder=self.folder, user=user, port=self.port, pages=pages)
        log = str(self.folder / "nginx.log")  # or it complains that it may not write Debian's
        return [program("nginx"), "-e", log, "-c", self._written("nginx.conf", text)]

    def _written(self, name: str, text: str) -> str:
        file = self.folder / name
        file.write_text(text)
        return str(file)

    @contextlib.contextmanager
    def _started(self, command: list[str]) -> Iterator[None]:
        log = (self.folder / "started.log").open("ab")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_owner(signal.SIGTERM),
        )
        try:
            yield
        finally:
            stop(process)
            log.close()

    def _wait(self) -> None:
        """Until a page is answered."""
        url = f"http://127.0.0.1:{self.port}/page.php?question=ready"
        deadline, trouble = time.monotonic() + _READY_WITHIN_S, "no answer"
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(url, timeout=5) as page:
                    page.read()
                    return
            except OSError as error:
                trouble = str(error)
                time.sleep(0.05)
        msg = f"nginx and php-fpm: {trouble}"
        raise Failed(msg)


def program(name: str) -> str:
    """Where it is installed; raises Failed with what to install if it is not."""
    versions = _PHP_VERSIONS if name == "php-fpm" else ("",)
    for version in versions:
        if found := shutil.which(name + version, path=_PATH):
            return found
    msg = f"there is no {name}: {APT}"
    raise Failed(msg)
