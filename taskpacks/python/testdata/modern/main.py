import asyncio
import fcntl
import functools
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from pytasks import Permanent, Retry, TaskCancelled, TaskStopped, TaskTimeout, current, progress, task

from . import shapes
from .deep.er import area_of

print("imported")


@task
def add(x: int, y: int):
    return x + y


@task(timeout="1m30s", max_attempts=3, protected=True)
def careful():
    """What it does,
    in two lines.

    And more.
    """


@task(name="short", timeout=1.5)
def long_name():
    return add(1, 2)


@task(name="modern.other.full")
def other_name():
    return shapes.AREA


def twice(fn):
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        return [fn(*args, **kwargs)] * 2

    return wrapper


@task
@twice
def wrapped(x: float):
    return x


@task
async def awaited(x: int):
    await asyncio.sleep(0)
    return x


@task
async def await_fails():
    await asyncio.sleep(0)
    raise LookupError("not there")


@task
def tells():
    progress(0.5, "half")
    print("said", end="")
    print("warned", end="", file=sys.stderr)
    progress(1)
    return [current().id, current().attempt, current().node, os.environ["PYTASKS_TASK_ID"], os.environ["PYTASKS_ATTEMPT"],
            os.environ["PYTASKS_NODE"]]


@task
def bad_progress():
    progress(float("nan"))


@task
def area():
    return area_of(2, 3)


@task
def fails(how: str):
    if how == "permanent":
        raise Permanent("never again")
    if how == "retry":
        raise Retry("later")
    if how == "exit":
        sys.exit()
    if how == "text":
        sys.exit("told so")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "deep":
        return fails(how)
    if how == "unprintable":
        raise Unprintable
    if how == "long":
        raise ValueError("a" + "x" * 100000 + "z")
    if how == "surrogate":
        raise ValueError("\ud800")
    if how == "chain":
        try:
            raise KeyError("first")
        except KeyError as err:
            raise ValueError("second") from err
    raise AssertionError(how)


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError


@task
def where():
    return {"folder": os.getcwd(), "files": os.listdir("."), "input": sys.stdin.read()}


@task
def leaves_file():
    found = where()
    open("left", "w").close()
    return found


@task
def leaves_folder():
    found = where()
    os.mkdir("left")
    return found


@task
def litter():
    os.environ["LITTER"] = "1"
    os.environ["HOME"] = "/litter"
    del os.environ["KEPT"]
    os.environ = {}
    sys.path.insert(0, "/litter")
    sys.stdout = sys.stderr = None
    import signal
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@task
def surroundings():
    print("still here", end="")
    homes = {os.environ["HOME"], subprocess.getoutput("echo $HOME")}
    return ["LITTER" in os.environ, "/litter" in homes, os.environ["KEPT"], "/litter" in sys.path]


@task
def descriptors():
    """Returns which of the protocol's files are here under their old numbers, and in a child at all."""
    def named(pid):
        links = {}
        for fd in os.listdir("/proc/%s/fd" % pid):
            try:
                links[int(fd)] = os.readlink("/proc/%s/fd/%s" % (pid, fd))
            except OSError:
                pass  # the one of listdir
        return links

    own = named("self")
    protocol = {link for fd, link in own.items() if fd >= 100 and fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC}
    with subprocess.Popen(["cat"], close_fds=False, stdin=subprocess.PIPE) as child:
        inherited = named(child.pid)
    here = [fd for fd in (3, 4) if own.get(fd) in protocol]
    return [len(protocol), here, sorted(protocol & set(inherited.values()))]


@task
def leaves_thread(again: bool = False):
    go = threading.Event()

    def late():
        go.wait()
        progress(0.1, "late")

    thread = threading.Thread(target=late)
    thread.start()
    if again:
        go.set()
        thread.join()
    else:
        threads.append((go, thread))


threads = []


@task
def late_progress():
    for go, thread in threads:
        go.set()
        thread.join()


@task
def forks():
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    else:
        progress(0.9, "from the child")
    return pid > 0


@task
def processes(way: str):
    with ProcessPoolExecutor(1, get_context(way)) as pool:
        return pool.submit(shapes.square, 3).result()


@task
def waits():
    try:
        progress(0, "waiting")
        time.sleep(60)
    except TaskTimeout as err:
        progress(1, "cleaned up")
        assert TaskTimeout is TaskCancelled is TaskStopped
        raise


@task
async def awaits():
    try:
        progress(0, "waiting")
        await asyncio.sleep(60)
    finally:
        progress(1, "cleaned up")


@task
def pid():
    return os.getpid()


@task
def breaks_json():
    threading.Thread(target=threading.Event().wait).start()
    json.loads = None
