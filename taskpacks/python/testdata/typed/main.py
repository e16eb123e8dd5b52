import dataclasses
import datetime
import enum
import pathlib
import typing
import uuid
from collections import abc
from typing import Any, Dict, List, Literal, Mapping, NewType, Optional, Sequence, Set, Tuple, Union

from pytasks import task


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    tags: List[str] = dataclasses.field(default_factory=list)
    cached: int = dataclasses.field(default=0, init=False)

    def __post_init__(self):
        if self.x < 0:
            raise ValueError("x is negative")


@dataclasses.dataclass
class Tree:
    value: float
    left: Optional["Tree"] = None
    at: Optional[Point] = None


class Options(typing.TypedDict, total=False):
    color: Color
    scale: float


Meters = NewType("Meters", float)


def show(*values):
    return repr(values[0]) if len(values) == 1 else repr(values)


@task
def plain(a: int, b: float, c: str, d: bool, e: list, f: dict, g: None, h: object, i: Any, j):
    return show(a, b, c, d, e, f, g, h, i, j)


@task
def defaults(a: int = 1, b: float = float("inf"), c: Tuple[int, ...] = (1, 2), d: Color = Color.RED, *, e: str, f: Optional[int] = None):
    return show(a, b, c, d, e, f)


@task
def lists(a: List[float], b: "list[int]", c: Sequence[float], d: Tuple[int, Color], e: Set[float], f: tuple, g: abc.Iterable):
    return show(a, b, c, d, e, f, g)


@task
def dicts(a: Dict[str, float], b: Mapping[str, List[float]], c: Dict[str, Any]):
    return show(a, b, c)


@task
def unions(a: Union[int, float], b: Union[str, float], c: Optional[float], d: Union[None, Point, Color, str], e: Union[datetime.date, uuid.UUID, str]):
    return show(a, b, c, d, e)


@task
def literals(a: Literal["x", 1, None], b: Color, c: Level, d: Literal[Color.RED]):
    return show(a, b, c, d)


@task
def records(a: Point, b: Options, c: Tree, d: Dict[str, List[Point]]):
    return show(a, b, c, d)


@task
def times(a: datetime.datetime, b: datetime.date):
    return show(a, b)


@task
def others(a: uuid.UUID, b: pathlib.Path, c: Meters):
    return show(str(a), str(b), c)


@task
def quoted(a: "int", b: "float", c: "no such thing", d: "Optional[Missing]" = None):
    return show(a, b, c, d)


@dataclasses.dataclass
class Result:
    x: Any


@task
def returns(what: str):
    loop = {}
    loop["self"] = [loop]
    deep = []
    for _ in range(2000):
        deep = [deep]
    fair = 0
    for _ in range(400):
        fair = [fair]
    return {
        "tuple": (1, 2.0, None, True),
        "keys": {1: "a", True: "b", None: "c", 1.5: "d"},
        "big": 7 ** 6000,
        "float": [5.0, 1e300, 0.1],
        "surrogate": "\ud800é",
        "dataclass": Result(Point(1)),
        "enum": [Color.RED, Level.HIGH],
        "time": [datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc), datetime.date(2024, 1, 2)],
        "text": [uuid.UUID(int=1), pathlib.Path("/a")],
        "fair": fair,
        "nan": {"a": [1, 2, 3, float("nan")]},
        "inf": float("-inf"),
        "nankey": {float("nan"): 1},
        "set": Result({1}),
        "bytes": [b"x"],
        "generator": (x for x in ()),
        "function": show,
        "tuplekey": {(1, 2): 3},
        "loop": loop,
        "deep": deep,
        "decimal": __import__("decimal").Decimal(1),
        "class": Point,
    }[what]
