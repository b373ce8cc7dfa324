"""Round trips and questions a second of the echo: a peer is started once for both."""

from __future__ import annotations

from bench import catalogue
from bench.measurements import roundtrip, throughput
from bench.run import Run


def measure(run: Run) -> None:
    """Whichever of `roundtrip` and `throughput` is wanted."""
    run.say("starting the bare loop, Resident and the floor")
    with (
        run.bench() as bench,
        bench.running(catalogue.BARE) as bare,
        bench.running(catalogue.RESIDENT) as resident,
        bench.running(catalogue.FLOOR) as floor,
    ):
        started = {
            catalogue.BARE.name: bare,
            catalogue.RESIDENT.name: resident,
            catalogue.FLOOR.name: floor,
        }
        if run.wants("roundtrip"):
            roundtrip.compare(run, bench, bare, resident)
            with run.attempt("roundtrip", "tail, Resident"):
                roundtrip.tails(run, bench, started)
        if run.wants("throughput"):
            throughput.compare(run, bench, started)
        for peer in catalogue.QUICK if run.plan.is_quick else catalogue.OTHERS:
            if peer is catalogue.HUEY and not run.wants("roundtrip"):
                continue
            run.say(f"{peer.name} beside the bare loop")
            with run.attempt("echo", peer.name), bench.running(peer) as caller:
                if run.wants("roundtrip"):
                    roundtrip.beside(run, peer, caller, bare)
                if run.wants("throughput") and peer is not catalogue.HUEY:
                    throughput.beside(run, peer, caller, bare)
