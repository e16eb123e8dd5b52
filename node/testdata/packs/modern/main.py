import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Literal, Optional

import pytasks
from pytasks import task


@dataclass
class Point:
    x: float
    y: float = 0.0


@task
def scale(point: Point, by: int = 2, unit: Literal["m", "km"] = "m", note: Optional[str] = None) -> dict:
    """Scale a point."""
    return {"x": point.x * by, "y": point.y * by, "unit": unit, "note": note}


@task
async def later(n: int):
    import asyncio
    await asyncio.sleep(0)
    return n + 1


@task
def steps(n: int, pause: float):
    for i in range(n):
        print("step", i, flush=True)
        pytasks.progress((i + 1) / n, f"step {i}")
        time.sleep(pause)
    return n


@task
def fail(how: str):
    print("about to fail:", how, flush=True)
    if how == "raise":
        return {}["absent"]
    if how == "exit":
        sys.exit(3)
    if how == "die":
        os._exit(4)
    if how == "segfault":
        import ctypes
        ctypes.string_at(0)
    if how == "nan":
        return {"a": [1, float("nan")]}
    if how == "set":
        return {1, 2}
    if how == "loop":
        while True:
            pass
    if how == "print":
        line = "x" * 999 + "\n"
        for _ in range(100_000):
            sys.stdout.write(line)
        return "printed"
    if how == "large":
        return "x" * (2 << 20)
    if how == "children":
        subprocess.Popen(["sleep", "600"])
        return "left one behind"
    if how == "memory":
        hold = []
        while True:
            hold.append(bytearray(16 << 20))
            time.sleep(0.01)
    return how


@task
def stubborn():
    """Ends only when it is killed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("begun", flush=True)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


@task
def where():
    return {"dir": os.getcwd(), "files": os.listdir("."), "env": dict(os.environ), "argv": sys.argv}


@task
def pid():
    return os.getpid()


@task
def noop():
    pass
