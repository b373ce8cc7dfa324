"""What single Redis commands cost inside a script, with the append-only file and without it.

.venv/bin/python -m bench.commands
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import click
from redis import Redis

from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect

ID = "0123456789abcdef0123456789abcdef"
NAME = "resident-echo-host-12345-abcdefabcdef"
STAMP = "2026-11-23T08:09:10.000001Z"
FIELDS = ",".join(f"'field{number}'" for number in range(19))
COMMANDS = {
    "PTTL": "redis.call('PTTL','j')",
    "HMGET, 19 fields": f"redis.call('HMGET','j',{FIELDS})",
    "HSET, 5 fields": f"redis.call('HSET','j','status','started','started_at','{STAMP}',"
    f"'last_heartbeat','{STAMP}','worker_name','{NAME}','execution','{ID}')",
    "PEXPIRE": "redis.call('PEXPIRE','j','315360000000')",
    "RPUSH and DEL": f"redis.call('RPUSH','l','{ID}{ID}') redis.call('DEL','l')",
    "XADD and DEL": "redis.call('XADD','x','MAXLEN','~','10','*','type','1','worker_name',"
    f"'{NAME}','execution_id','{ID}','execution_started_at','1795417995.123456',"
    "'execution_ended_at','1795417995.123456','return_value','Ij8i') redis.call('DEL','x')",
}


@click.command()
@click.option("--times", default=3000, show_default=True, help="each command in one script")
def main(times: int) -> None:
    """Prints the least of seven runs, in microseconds a command."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as server:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        with connect(server.url) as redis:
            for append_only in ("yes", "no"):
                redis.config_set("appendonly", append_only)
                click.echo(f"append-only file: {append_only}")
                for name, command in COMMANDS.items():
                    script = f"for i = 1, {times} do {command} end return 1"
                    least = min(seconds_of(redis, script) for _ in range(7))
                    click.echo(f"  {name:20}{least / times * 1e6:6.2f}")


def seconds_of(redis: Redis, script: str) -> float:
    """How long one run of the script takes."""
    began = time.perf_counter()
    redis.eval(script, 0)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
