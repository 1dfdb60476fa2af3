"""`python -m opsplatform.demo`: 0 when the whole story came true, 1 with the reason if not, 2 if it cannot begin."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psutil
import psycopg
import redis

from opsplatform.demo import killing, place, story, trouble, upgrade
from opsplatform.demo.telling import NotTrueError, Telling
from opsplatform.embedded import EmbeddedError
from opsplatform.plane import Plane, PlaneError

READY_WITHIN_S = 120
UNFIT, INTERRUPTED = 2, 130
TIRED_RESTARTS = 3
# What ends the story: a step that is not true, and whoever does not answer while it is told.
BROKEN = (NotTrueError, PlaneError, psycopg.Error, redis.RedisError, psutil.Error, subprocess.TimeoutExpired)


class Curtain:
    """What a signal does: the first ends the story, a further one tells the supervisor to hurry."""

    def __init__(self) -> None:
        self.plane: Plane | None = None
        self.falling = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if not self.falling:
            self.falling = True
            raise KeyboardInterrupt
        with contextlib.suppress(PlaneError, ProcessLookupError):
            if self.plane is not None:
                os.kill(self.plane.supervisor.pid, signal.SIGTERM)


def main() -> int:
    """Play the demo."""
    options = _options()
    place.forget_surroundings()
    tell, curtain = Telling(), Curtain()
    tell.plain(tell.styled("Platform Operations: one governed plane, from an empty folder to the proof", "bold"))
    try:
        with place.reserved(folder=options.folder) as home:
            try:
                _play(tell, curtain, home=home)
            except KeyboardInterrupt:
                curtain.falling = True
                _tidy(options, home=home)
                raise
            _tidy(options, home=home)
    except (EmbeddedError, place.PlaceError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return UNFIT
    except BROKEN as error:
        tell.end(f"Not true: {_in_words(error)}", good=False)
        tell.plain(f"{' ' * 10}The plane's logs are kept in {options.folder / 'plane' / 'logs'}")
        return 1
    except KeyboardInterrupt:
        tell.end("Stopped; nothing of it is left running.", good=False)
        return INTERRUPTED
    tell.end(f"All of it came true: {tell.checked} checks in {tell.elapsed_s:.0f} s.", good=True)
    return 0


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, NotTrueError | PlaneError) else f"{type(error).__name__}: {error}"


def _tidy(options: argparse.Namespace, *, home: Path) -> None:
    if not options.keep:
        place.erase(home=home)
        place.leave(folder=options.folder)


def _options() -> argparse.Namespace:
    folder = place.default_folder()
    parser = argparse.ArgumentParser(
        prog="python -m opsplatform.demo",
        description="Start a plane of its own, play an example on real data, check every step, stop everything.",
        epilog="The demo's plane has a folder of its own beside OPS_HOME, free ports, and its own PostgreSQL and "
        "Valkey (DATABASE_URL, BROKER_URL and OPS_* are left out): it neither disturbs nor needs a plane that runs. "
        "The folder is emptied at the start, erased after a good end, and kept after a bad one, for its logs.",
    )
    parser.add_argument("--folder", type=Path, default=folder, help=f"where it lives ({folder})")
    parser.add_argument("--keep", action="store_true", help="keep the folder after a good end, too")
    options = parser.parse_args()
    options.folder = options.folder.expanduser().resolve()
    return options


def _play(tell: Telling, curtain: Curtain, *, home: Path) -> None:
    """Start the plane, tell the story, stop the plane, whatever happens between."""
    port, flower_port = place.free_ports()
    with trouble.mail_server() as mailbox:
        variables = {"EMAIL_URL": mailbox.url, "OPS_MIGRATIONS": str(upgrade.FOLDER)}
        plane = curtain.plane = Plane(home=home, port=port, flower_port=flower_port, variables=variables)
        _tell(tell, curtain, plane=plane, mailbox=mailbox)
    tell.check(not place.still_running(home=home), "everything was stopped, nothing is left running")


def _tell(tell: Telling, curtain: Curtain, *, plane: Plane, mailbox: trouble.Mailbox) -> None:
    tell.chapter("A plane comes up, out of wheels: no root rights, no container, no database to install")
    tell.say(f"in {plane.home}")
    plane.launch()
    with _lowered(plane, tell=tell, curtain=curtain):
        _wait_until_ready(plane, tell=tell)
        stage = story.set_stage(tell=tell, plane=plane)
        with contextlib.closing(stage.witness):
            for chapter in story.CHAPTERS:
                chapter(stage)
            job_id = killing.kill_a_worker(stage)
            killing.tell_timeline(stage, job_id)
            trouble.fail_for_good(stage, mailbox)
            story.check_events(stage, job_id)
            story.check_evidence(stage, job_id)
            upgrade.upgrade(stage)


def _wait_until_ready(plane: Plane, *, tell: Telling) -> None:
    """Raise, in the plane's own words, `PlaceError` if it cannot run here, `NotTrueError` if it does not come up."""

    def broken() -> bool:
        dying = any(process["restarts"] >= TIRED_RESTARTS for process in plane.processes().values())
        return dying or plane.supervisor.poll() is not None

    tell.wait(
        lambda: plane.is_ready() or broken(),
        for_what="PostgreSQL, Valkey, tables, and the Procfile's processes start",
        within_s=READY_WITHIN_S,
    )
    if not plane.is_ready():
        said = [line for line in plane.output().strip().splitlines() if "restarted" not in line]
        last = said[-1] if said else "it said nothing"
        if plane.supervisor.poll() == UNFIT:
            raise place.PlaceError(last)
        raise NotTrueError(f"the plane comes up: {last}")
    tell.true(f"ready: {', '.join(plane.processes())}, PostgreSQL and Valkey; the API is at {plane.addresses['api']}")


@contextlib.contextmanager
def _lowered(plane: Plane, *, tell: Telling, curtain: Curtain) -> Iterator[None]:
    """Stop the plane at the end, also when the story broke off."""
    try:
        yield
        tell.chapter("The plane stops")
    except BaseException:
        tell.plain("")
        tell.say("Stopping the plane.")
        raise
    finally:
        curtain.falling = True
        began = time.monotonic()
        code = plane.stop()
        tell.say(f"The supervisor ended with code {code} after {time.monotonic() - began:.1f} s.")
        curtain.falling = False


if __name__ == "__main__":
    raise SystemExit(main())
