"""Runs the funcs of one Python pack. A node starts it as

    python -I -u -B runner.py describe|serve|test <folder of the pack> <name of the pack> [arguments]

describe imports the pack and writes one frame to file descriptor 4: {"specs": [...], "warnings": [...]} or {"fatal": ...}.
serve imports it and then runs one request after the other: frames come in on file descriptor 3 and go out on 4.
test runs the pack's own unit tests; arguments go to unittest.

A frame is a length, four bytes, big endian, and so many bytes of JSON. What the code prints never mixes with frames.

The file stands alone, for Python 3.8 and later. What only some packs need is imported when it is needed: a worker that
starts faster is worth more than a tidy head. Read it from the end: main, then Worker, then Pack.
"""

import fcntl
import json
import math
import os
import re
import signal
import sys
import threading
import types

PACKS = "tasks.packs."  # what the names of a pack's modules begin with
MAX_ATTEMPTS = 100  # the most that a node takes
MAX_TEXT = 8 << 10  # bounds a message and a traceback, in characters: they are stored with the task on every node
JSON_TYPES = "int, float, str, bool, list, dict, Optional, Union, Literal, datetime, an Enum, a dataclass or a TypedDict"


# ---- What a pack imports as "pytasks" ----


class Permanent(Exception):
    """Raised by a task: it failed, and trying again would not help."""


class Retry(Exception):
    """Raised by a task: it failed, and is to be tried again where attempts are left."""


class TaskStopped(BaseException):
    """Raised inside a task that timed out or was cancelled, in the main thread. Clean up and let it pass: the process is
    ended soon after. TaskTimeout and TaskCancelled are other names of it; the reason is not told."""


def task(fn=None, *, timeout=None, max_attempts=None, protected=False, name=None):
    """Makes a function a task: @task or @task(...). The function itself stays as it is.

    timeout bounds one attempt: seconds, a timedelta or a text such as "30s" or "1m30s". max_attempts bounds how often it is
    tried. protected asks callers for a token. name takes the place of the function's name.
    """

    def define(fn):
        if isinstance(fn, type) or not callable(fn) or not hasattr(fn, "__name__"):
            raise TypeError("@task is for functions, not for %r" % (fn,))
        if "." in getattr(fn, "__qualname__", "").rpartition("<locals>.")[2]:
            raise TypeError("@task is for functions, not for the method %s" % fn.__qualname__)
        pack.add(ModernTask(fn, timeout, max_attempts, protected, name))
        return fn

    return define if fn is None else define(fn)


def progress(fraction, text=""):
    """Tells how far the running task is: a fraction from 0 to 1, and a short text. Outside a task it does nothing."""
    fraction = float(fraction)
    if not math.isfinite(fraction):
        raise ValueError("progress takes a fraction from 0 to 1, not %r" % fraction)
    worker.progress(fraction, str(text))


def current():
    """Returns the running call: id (of the task), attempt (1 is the first) and node. Outside a task the texts are empty."""
    return worker.call or Call("", 1, "")


class Call:
    __slots__ = ("id", "attempt", "node")

    def __init__(self, id, attempt, node):
        self.id, self.attempt, self.node = id, attempt, node

    def __repr__(self):
        return "Call(id=%r, attempt=%r, node=%r)" % (self.id, self.attempt, self.node)


def pytasks_module():
    module = types.ModuleType("pytasks", "What a pack may use of the node that runs it.")
    for item in (task, progress, current, Permanent, Retry, TaskStopped):
        item.__module__ = "pytasks"
        setattr(module, item.__name__, item)
    module.TaskTimeout = module.TaskCancelled = TaskStopped
    return module


# ---- Errors of the runner ----


class PackError(Exception):
    """The pack as a whole cannot be used."""


class ArgumentError(Exception):
    """An argument cannot become what the function expects."""


class ResultError(Exception):
    """What the function returned cannot be written as JSON."""


# ---- Tasks ----


class ModernTask:
    """A function under @task."""

    strict = True  # what can never work is refused when the pack is loaded
    bound = ignore_result = False

    def __init__(self, fn, timeout, max_attempts, protected, name):
        where = "task %s" % fn.__name__
        self.fn, self.doc, self.protected = fn, fn.__doc__, bool(protected)
        self.timeout = nanoseconds(timeout, where)
        if max_attempts is not None and (type(max_attempts) is not int or max_attempts < 1):
            raise ValueError("%s: max_attempts=%r: use a whole number from 1" % (where, max_attempts))
        self.max_attempts = max_attempts or 0
        self.converters = None  # filled at the first call
        self.of_pack = ("%s." % fn.__module__).startswith(pack.module + ".")
        if name is not None and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
            raise ValueError("%s: name=%r: use letters, digits and underscores" % (where, name))
        if name is None or "." not in name:
            self.name = ("%s.%s" % (fn.__module__, name or fn.__name__))[len(PACKS):]
        elif name.startswith(pack.name + "."):
            self.name = name
        else:
            raise ValueError("%s: name=%r: use a name without dots, or one that begins with %s." % (where, name, pack.name))

    def is_permanent(self, err):
        return isinstance(err, (Permanent, ArgumentError, ResultError))

    def run(self, kwargs):
        return self.fn(**kwargs)


UNTOLD = object()


class ReferenceTask:
    """What @celery_app.task makes of a function, and the self of a bound one."""

    strict = False
    timeout = 0
    of_pack = True

    def __init__(self, fn, bind=False, name=None, max_retries=UNTOLD, ignore_result=False, **_):
        self.run_function = fn
        self.name = name or "%s.%s" % (fn.__module__, fn.__name__)  # as the reference shows it to the task itself
        self.bound, self.ignore_result = bind, ignore_result
        self.max_retries = 3 if max_retries is UNTOLD else max_retries  # None is no limit; both as Celery has it
        self.max_attempts = 0
        if bind or max_retries is not UNTOLD:
            self.max_attempts = MAX_ATTEMPTS if self.max_retries is None else self.max_retries + 1
        self.protected = getattr(fn, "_pytasks_protected", False)
        self.converters = None
        self.__name__, self.__doc__, self.__module__, self.__wrapped__ = fn.__name__, fn.__doc__, fn.__module__, fn

    def __call__(self, *args, **kwargs):
        return self.run_function(self, *args, **kwargs) if self.bound else self.run_function(*args, **kwargs)

    @property
    def request(self):
        call = current()
        return types.SimpleNamespace(id=call.id, hostname=call.node, retries=call.attempt - 1)

    def update_state(self, task_id=None, state=None, meta=None, **_):
        """Becomes the task's progress, if meta has current and total, or a text."""
        meta = meta if isinstance(meta, dict) else {}
        text = meta.get("text") or meta.get("status") or state or ""
        try:
            fraction = meta["current"] / meta["total"]
        except (KeyError, TypeError, ZeroDivisionError):
            if "text" not in meta and "status" not in meta:
                return
            fraction = 0.0
        progress(fraction, text)

    def retry(self, args=None, kwargs=None, exc=None, countdown=None, max_retries=None, **_):
        """Ends the attempt, to be tried again. When that is the node's decision: countdown is not looked at."""
        limit = self.max_retries if max_retries is None else max_retries
        if limit is not None and current().attempt > limit:
            raise exc if exc is not None else RuntimeError("the task was retried %d times, which is all it may" % limit)
        raise Retry(str(exc) if exc is not None else "the task asked to be tried again") from exc

    # What the runner asks, as of a ModernTask.

    @property
    def fn(self):
        return self.run_function

    @property
    def doc(self):
        return self.__doc__

    def is_permanent(self, err):
        return not isinstance(err, Retry)

    def run(self, kwargs):
        return self(**kwargs)


class CeleryApp:
    """What a pack's init gets as celery_app. It can make tasks, no more."""

    def task(self, *args, **options):
        if args and callable(args[0]):
            return self.define(args[0], options)
        return lambda fn: self.define(fn, options)

    def define(self, fn, options):
        task = ReferenceTask(fn, **options)
        pack.add_reference(task)
        return task


def authorized_task(task):
    """The decorator that asks callers for a token. It stands on top of @celery_app.task; below is understood as well, for
    a task that is open by mistake is worse than one that follows no rule."""
    if isinstance(task, ReferenceTask):
        task.protected = True
    else:
        task._pytasks_protected = True
    return task


UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def nanoseconds(timeout, where):
    """Reads a timeout; None is 0, the node's default."""
    if timeout is None:
        return 0
    seconds = timeout
    if hasattr(timeout, "total_seconds"):
        seconds = timeout.total_seconds()
    elif isinstance(timeout, str) and re.fullmatch(r"(\d+(\.\d+)?(h|ms|m|s|us|µs|ns))+", timeout):
        seconds = sum(float(n) * UNITS[unit] for n, unit in re.findall(r"([\d.]+)([a-zµ]+)", timeout))
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 1e-9 <= seconds <= 9e9:
        raise ValueError('%s: timeout=%r: use seconds, a timedelta or a text such as "30s"' % (where, timeout))
    return round(seconds * 1e9)


# ---- The pack ----


class Pack:
    """The pack's modules and tasks. Its folder is the package tasks.packs.<name>, whatever the folder is called."""

    def __init__(self, folder, name):
        self.folder, self.name, self.module = folder, name, PACKS + name
        self.tasks = {}
        self.warnings = []

    def install(self):
        """Makes the pack importable, and the module pytasks with it."""
        sys.modules["pytasks"] = pytasks_module()
        sys.meta_path.insert(0, self)
        sys.path.append(self.folder)  # import sibling, beside from . import sibling

    def find_spec(self, name, path=None, target=None):
        """Finds tasks, tasks.packs and the pack. What is below is found the usual way."""
        if name != self.module and name not in ("tasks", "tasks.packs"):
            return None
        from importlib.machinery import ModuleSpec, SourceFileLoader

        init = os.path.join(self.folder, "__init__.py")
        if name != self.module or not os.path.exists(init):
            spec = ModuleSpec(name, None, is_package=True)
        else:
            spec = ModuleSpec(name, SourceFileLoader(name, init), origin=init, is_package=True)
            spec.has_location = True
        spec.submodule_search_locations = [self.folder] if name == self.module else []
        return spec

    def load(self):
        """Imports the pack and collects its tasks."""
        package = self.imported("")
        init = getattr(package, "init", None)
        for name in self.modules(with_main=init is None):
            module = self.imported("." + name)
            if name == "main" and init is None:
                init = getattr(module, "init", None)
        if callable(init) and (not self.tasks or takes_celery(init)):
            init(CeleryApp(), authorized_task=authorized_task)
        elif not self.tasks:
            raise PackError(
                "the pack has no tasks: put functions under @task (from pytasks import task) into main.py,"
                " or define init(celery_app, **global_decorators) there"
            )

    def imported(self, name):
        __import__(self.module + name)  # unlike importlib.import_module it leaves no frames of its own in tracebacks
        return sys.modules[self.module + name]

    def modules(self, with_main):
        """Returns the names of the modules in the folder that may hold tasks, main first."""
        names = sorted(os.listdir(self.folder), key=lambda name: (name != "main.py", name))
        for name in names:
            stem = name[:-3]
            if not name.endswith(".py") or not stem.isidentifier() or stem.startswith(("test_", "__")):
                continue
            if stem == "main" and with_main:
                yield stem
                continue
            with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as file:
                if re.search(r"^\s*(from|import)\s+pytasks\b", file.read(), re.MULTILINE):
                    yield stem

    def add(self, task):
        if not task.of_pack:
            return  # the same file under another module name
        if task.name in self.tasks:
            raise PackError(
                "two tasks are named %s: rename one (a decorator below @task needs functools.wraps)" % task.name
            )
        self.tasks[task.name] = task

    def add_reference(self, task):
        if not task.name.startswith(self.module + "."):
            self.warnings.append("task %s is left out: its name does not begin with %s." % (task.name, self.module))
        elif task.name[len(PACKS):] in self.tasks:
            self.warnings.append("task %s is defined twice: the first counts" % task.name)
        else:
            self.tasks[task.name[len(PACKS):]] = task

    def specs(self):
        """Returns the signatures of the tasks, as the node reads them."""
        specs = []
        for name, task in self.tasks.items():
            try:
                spec = {"name": name, "params": [param for param, _ in params(task)]}
            except (TypeError, ValueError) as err:
                if task.strict:
                    raise PackError("task %s: %s" % (name, err)) from None
                self.warnings.append("task %s is left out: %s" % (name, err))
                continue
            if task.protected:
                spec["protected"] = True
            if task.timeout:
                spec["timeout"] = task.timeout
            if task.max_attempts:
                spec["max_attempts"] = task.max_attempts
            doc = first_paragraph(task.doc)
            if doc:
                spec["doc"] = doc
            specs.append(spec)
        return specs


def takes_celery(init):
    """Reports whether init can be the reference's, in a pack that has tasks without it."""
    import inspect

    try:
        inspect.signature(init).bind(None, authorized_task=None)
    except TypeError:
        return False
    return True


def first_paragraph(doc):
    if not isinstance(doc, str):
        return ""
    lines = []
    for line in doc.strip().splitlines():
        if not line.strip():
            break
        lines.append(line.strip())
    return " ".join(lines)


# ---- Signatures ----


def params(task):
    """Yields for each parameter what callers see of it, and what converts an argument to what the function expects, or None."""
    import inspect

    fn = task.fn
    if task.strict and (inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn)):
        raise TypeError("it is a generator: return a list instead of yielding")
    signature = list(inspect.signature(fn).parameters.values())
    if task.bound:
        signature = signature[1:]
    hints = hints_of(fn, {p.name: p.annotation for p in signature if p.annotation is not p.empty})
    reader = Types(task.strict)
    for p in signature:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            if task.strict:
                raise TypeError("%s: name every param, a task takes no *args and no **kwargs" % p)
            continue
        if p.kind == p.POSITIONAL_ONLY:
            raise TypeError("param %s is positional only, and tasks get their arguments by name: drop the /" % p.name)
        try:
            kind, convert = reader.of(hints.get(p.name, object))
        except TypeError as err:
            raise TypeError("param %s: %s" % (p.name, err)) from None
        text = None if p.annotation is p.empty else p.annotation
        yield param(p.name, with_text(kind, text), p.default, p.empty), convert


HIDDEN = object()  # a default that callers do not see


def param(name, kind, default, missing):
    """Returns a param as the node reads it. missing is what stands for no default."""
    p = {"name": name, "type": kind}
    if default is missing:
        p["required"] = True
    elif default is not HIDDEN:
        try:
            p["default"] = json.loads(encode(default))
        except ResultError:
            pass  # optional all the same
    return p


def with_text(kind, annotation):
    """Adds the text of an annotation, where the node would not write the same."""
    text = annotation if isinstance(annotation, str) else str(annotation)
    if annotation is None or text == "<class '%s'>" % kind["kind"]:
        text = "None" if kind["kind"] == "null" else ""
    return dict(kind, text=text) if text else kind


def hints_of(obj, annotations, **options):
    """Returns the evaluated annotations of obj. One that cannot be evaluated is taken for any value."""
    if not annotations:
        return {}
    if all(type(a) is type for a in annotations.values()):
        return annotations
    import typing

    try:
        return typing.get_type_hints(obj, **options)
    except Exception:
        hints = {}
    while hasattr(obj, "__wrapped__"):
        obj = obj.__wrapped__
    names = getattr(obj, "__globals__", None) or vars(sys.modules.get(obj.__module__, typing))
    for name, annotation in annotations.items():
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, names)
            except Exception:
                annotation = object
        hints[name] = annotation
    return hints


PLAIN = {int: "int", str: "str", bool: "bool", list: "list", dict: "dict", type(None): "null", None: "null"}
WRAPPERS = ("Annotated", "Required", "NotRequired", "ReadOnly", "Final")


class Types:
    """Reads annotations. Each becomes a type as the node reads it, and a function that converts a JSON value to what the
    code expects, or None where the value is that already. A TypeError says what is wrong with an annotation; unless strict,
    one that cannot be satisfied is taken for any value."""

    def __init__(self, strict):
        self.strict = strict
        self.inside = {}  # the dataclasses and TypedDicts that are being read, for those that contain themselves

    def of(self, hint):
        if hint is None or type(hint) is type and hint in PLAIN:
            return {"kind": PLAIN[hint]}, None
        if hint is float:
            return {"kind": "float"}, float
        if hint is object:
            return {"kind": "any"}, None
        try:
            return self.typed(hint) or self.named(hint)
        except TypeError:
            if self.strict:
                raise
            return {"kind": "any"}, None

    def typed(self, hint):
        """Reads what has arguments in brackets, or comes from typing."""
        import collections.abc as abc
        import typing

        origin, args = typing.get_origin(hint), typing.get_args(hint)
        name = getattr(origin, "__name__", None) or getattr(origin, "_name", None)
        if hint is typing.Any or isinstance(hint, typing.ForwardRef):
            return {"kind": "any"}, None
        if isinstance(hint, typing.TypeVar):
            return self.of(hint.__bound__ if hint.__bound__ is not None else object)
        for alias in ("__supertype__", "__value__"):  # of NewType, of the type statement
            if hasattr(hint, alias) and not isinstance(hint, type):
                return self.of(getattr(hint, alias))
        if name in WRAPPERS:
            return self.of(args[0])
        if origin is typing.Union or name == "UnionType":
            return self.union(args)
        if origin is typing.Literal:
            return self.literal([(getattr(v, "value", v), v) for v in args])

        origin = origin or hint
        if origin is tuple and args and args[-1] is not Ellipsis:
            return self.row(args)
        if origin in (abc.Mapping, abc.MutableMapping, dict):
            return self.mapping(args)
        makers = {tuple: tuple, set: set, frozenset: frozenset, abc.Set: set, abc.MutableSet: set}
        if origin in makers or origin in (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable):
            return self.sequence(args[0] if args else object, makers.get(origin))
        return None

    def named(self, hint):
        """Reads classes."""
        import datetime
        import enum

        if isinstance(hint, type):
            if issubclass(hint, enum.Enum):
                return self.literal([(member.value, member) for member in hint])
            if issubclass(hint, dict) and hasattr(hint, "__total__"):
                return self.record(hint, self.typed_dict)
            if hasattr(hint, "__dataclass_fields__"):
                return self.record(hint, self.dataclass)
            if hint is datetime.datetime:
                return {"kind": "datetime"}, to_datetime
            if hint is datetime.date:
                return {"kind": "datetime"}, to_date
            if hint.__module__ == "uuid" or hint.__module__.split(".")[0] == "pathlib":
                return {"kind": "str"}, hint
        raise TypeError("a value of type %s cannot come as JSON: use %s" % (getattr(hint, "__name__", hint), JSON_TYPES))

    def sequence(self, hint, make):
        of, convert = self.of(hint)
        kind = {"kind": "list"} if of["kind"] == "any" else {"kind": "list", "of": of}
        if convert is None:
            return kind, make
        if make is None:
            return kind, lambda values: [convert(value) for value in values]
        return kind, lambda values: make(convert(value) for value in values)

    def row(self, hints):
        """Reads tuple[int, str]."""
        members = [self.of(hint) for hint in hints]
        same = all(of == members[0][0] for of, _ in members)
        kind = {"kind": "list", "of": members[0][0]} if same else {"kind": "list"}

        def convert(values):
            if len(values) != len(members):
                raise ValueError("%d values were passed, %d are wanted" % (len(values), len(members)))
            return tuple(to(value) if to else value for value, (_, to) in zip(values, members))

        return kind, convert

    def mapping(self, args):
        if not args:
            return {"kind": "dict"}, None
        if self.of(args[0])[0]["kind"] not in ("str", "any") or self.of(args[0])[1] is not None:
            raise TypeError("the keys of JSON objects are texts: use dict[str, ...]")
        of, convert = self.of(args[1])
        kind = {"kind": "dict"} if of["kind"] == "any" else {"kind": "dict", "of": of}
        return kind, convert and (lambda values: {key: convert(value) for key, value in values.items()})

    def union(self, hints):
        members = [self.of(hint) for hint in hints if hint is not type(None)]
        if any(of["kind"] == "any" for of, _ in members):
            return {"kind": "any"}, None
        kind, convert = members[0]
        if len(members) > 1:
            kind = {"kind": "union", "any_of": [of for of, _ in members]}
            convert = chooser(members) if any(to for _, to in members) else None
        if len(members) < len(hints):
            to = convert
            kind = {"kind": "optional", "of": kind}
            convert = to and (lambda value: None if value is None else to(value))
        return kind, convert

    def literal(self, pairs):
        """Reads pairs of a JSON value and what stands for it in the code."""
        for value, _ in pairs:
            if value is not None and not isinstance(value, (int, float, str)):
                raise TypeError("the value %r cannot come as JSON" % (value,))
        kind = {"kind": "literal", "values": [value for value, _ in pairs]}
        if all(value is member for value, member in pairs):
            return kind, None
        members = {(type(value), value): member for value, member in pairs}

        def convert(value):
            if (type(value), value) in members:
                return members[type(value), value]
            for known, member in pairs:
                if known == value:
                    return member
            raise ValueError("%r is none of %s" % (value, ", ".join(repr(known) for known, _ in pairs)))

        return kind, convert

    def record(self, cls, read):
        """Reads a class with fields. Where it stands inside itself it is any dict, converted all the same."""
        if cls in self.inside:
            later = self.inside[cls]
            return {"kind": "dict"}, lambda value: later[0](value)
        later = self.inside[cls] = []
        try:
            fields, make = read(cls)
        finally:
            del self.inside[cls]
        converters = {field["name"]: convert for field, convert in fields if convert}
        later.append(lambda value: make({k: converters[k](v) if k in converters else v for k, v in value.items()}))
        kind = {"kind": "object", "fields": [field for field, _ in fields]}
        return kind, later[0] if converters or make is not dict else None

    def dataclass(self, cls):
        import dataclasses

        declared = [field for field in dataclasses.fields(cls) if field.init]
        hints = hints_of(cls, {field.name: field.type for field in declared})
        fields = []
        for field in declared:
            kind, convert = self.field(cls, field.name, hints.get(field.name, object))
            missing = dataclasses.MISSING
            default = field.default if field.default_factory is missing else HIDDEN
            fields.append((param(field.name, with_text(kind, field.type), default, missing), convert))
        return fields, lambda values: cls(**values)

    def typed_dict(self, cls):
        annotations = dict(cls.__annotations__)
        extras = {"include_extras": True} if sys.version_info >= (3, 9) else {}
        hints = hints_of(cls, annotations, **extras)
        required = getattr(cls, "__required_keys__", hints if cls.__total__ else ())
        fields = []
        for name, hint in hints.items():
            kind, convert = self.field(cls, name, hint)
            origin = getattr(hint, "__origin__", None)
            wrapper = getattr(origin, "__name__", None) or getattr(origin, "_name", None)
            must = wrapper == "Required" or wrapper != "NotRequired" and name in required
            fields.append((param(name, with_text(kind, hint), None if must else HIDDEN, None), convert))
        return fields, dict

    def field(self, cls, name, hint):
        try:
            return self.of(hint)
        except TypeError as err:
            raise TypeError("%s.%s: %s" % (cls.__name__, name, err)) from None


def chooser(members):
    """Returns what converts a value of a union: the first member that it fits counts, an int stays one if it may."""

    def convert(value):
        failed = None
        for exact in (True, False):
            for kind, to in members:
                if fits(kind, value, exact):
                    try:
                        return to(value) if to else value
                    except (TypeError, ValueError) as err:
                        failed = err
        if failed:
            raise failed
        return value

    return convert


def fits(kind, value, exact):
    """Reports whether a JSON value fits a type. The node judges arguments by the same rules; here they choose from a union."""
    name = kind["kind"]
    if name == "any":
        return True
    if name == "float":
        return type(value) is float or type(value) is int and not exact
    if name in ("int", "str", "bool"):
        return type(value).__name__ == name
    if name == "null":
        return value is None
    if name == "optional":
        return value is None or fits(kind["of"], value, exact)
    if name == "union":
        return any(fits(of, value, exact) for of in kind["any_of"])
    if name == "literal":
        return any(type(value) is type(known) and value == known for known in kind["values"])
    if name == "datetime":
        return isinstance(value, str) and RFC3339.fullmatch(value) is not None
    if name == "list":
        return isinstance(value, list) and ("of" not in kind or all(fits(kind["of"], v, exact) for v in value))
    if not isinstance(value, dict):
        return False
    if name == "dict":
        return "of" not in kind or all(fits(kind["of"], v, exact) for v in value.values())
    fields = {field["name"]: field for field in kind["fields"]}
    return all(k in fields and fits(fields[k]["type"], v, exact) for k, v in value.items()) and all(
        name in value for name, field in fields.items() if field.get("required")
    )


RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:(Z)|([+-])(\d\d):(\d\d))?)?", re.ASCII
)


def to_datetime(text):
    import datetime

    match = RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("%r is no time such as 2006-01-02T15:04:05Z" % text)
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    fraction, utc, sign, hours, minutes = match.groups()[6:]
    zone = datetime.timezone.utc if utc else None
    if sign:
        offset = datetime.timedelta(hours=int(hours), minutes=int(minutes))
        zone = datetime.timezone(-offset if sign == "-" else offset)
    return datetime.datetime(year, month, day, hour, minute, second, int((fraction or "0").ljust(6, "0")[:6]), zone)


def to_date(text):
    if len(text) != len("2006-01-02"):
        raise ValueError("%r is no date such as 2006-01-02" % text)
    return to_datetime(text).date()


def arguments(task, values):
    """Returns the arguments of a call as the function expects them."""
    if task.converters is None:
        task.converters = [(p["name"], convert) for p, convert in params(task) if convert]
    for name, convert in task.converters:
        if name in values:
            try:
                values[name] = convert(values[name])
            except Exception as err:
                raise ArgumentError("the param %s does not fit: %s" % (name, message_of(err))) from err
    return values


# ---- Results ----


def plain(value):
    """Returns what stands for value in JSON, for types that json does not know."""
    cls = type(value)
    if hasattr(cls, "__dataclass_fields__"):
        import dataclasses

        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for base in cls.__mro__:
        name = "%s.%s" % (base.__module__.split(".")[0], base.__name__)
        if name == "enum.Enum":
            return value.value
        if name in ("datetime.datetime", "datetime.date"):
            return value.isoformat()
        if name in ("uuid.UUID", "pathlib.PurePath"):
            return str(value)
    raise TypeError


encode_json = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=plain).encode


def encode(result):
    try:
        return encode_json(result)
    except RecursionError:
        why = "it is nested too deeply"
    except Exception as err:
        try:
            why = fault(result, "result", ()) or message_of(err)
        except RecursionError:
            why = "it is nested too deeply"
    raise ResultError("the result cannot be written as JSON: " + why)


HINTS = {
    "set": "return a list",
    "frozenset": "return a list",
    "generator": "return a list",
    "bytes": "return a str, base64 for example",
    "Decimal": "return a str or a float",
    "complex": "return a list of two floats",
    "timedelta": "return its total_seconds()",
    "ndarray": "return its tolist()",
}


def fault(value, where, above):
    """Says what in value cannot be written as JSON, and where it stands; None if all can. above is what value is inside of."""
    if value is None or isinstance(value, (str, int)):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else "%s is %r" % (where, float(value))
    if any(value is outer for outer in above):
        return "%s contains itself" % where
    if isinstance(value, dict):
        inside = ((v, "%s[%s]" % (where, encode_json(k) if isinstance(k, str) else repr(k)), k) for k, v in value.items())
    elif isinstance(value, (list, tuple)):
        inside = ((v, "%s[%d]" % (where, n), None) for n, v in enumerate(value))
    else:
        try:
            inner = plain(value)
        except TypeError:
            name = type(value).__name__
            hint = HINTS.get(name) or ("return its item()" if hasattr(value, "tolist") else "")
            article = "an" if name[:1] in "AEIOUaeiou" else "a"
            return "%s is %s %s" % (where, article, name) + (hint and ": " + hint)
        if not hasattr(type(value), "__dataclass_fields__"):
            return fault(inner, where, above + (value,))
        inside = ((v, "%s.%s" % (where, k), None) for k, v in inner.items())
    for inner, place, key in inside:
        if not (key is None or isinstance(key, (str, int, float))) or isinstance(key, float) and not math.isfinite(key):
            return "%s has the key %r: keys are texts or numbers" % (where, key)
        found = fault(inner, place, above + (value,))
        if found:
            return found
    return None


# ---- Failures ----


def failure(err, whose):
    """Returns an exception as the node reads it. The traceback begins where the pack's code does."""
    if isinstance(err, SystemExit):
        message = "%s called sys.exit(%s)" % (whose, "" if err.code is None else repr(err.code))
    else:
        message = message_of(err)
    try:
        text = traceback_of(err)
    except Exception:
        text = ""
    return {"type": type(err).__name__, "message": clip(message), "traceback": clip(text)}


def message_of(err):
    try:
        return str(err)
    except Exception as second:
        return "(no message: its __str__ raised %s)" % type(second).__name__


def traceback_of(err):
    import traceback

    if isinstance(err, ArgumentError) and err.__cause__ is not None:
        err = err.__cause__  # it may come from the pack's own code
    asyncio = sys.modules.get("asyncio")
    runner = clip.__code__.co_filename  # __file__ may be its compiled form
    machinery = (runner, "<frozen importlib") + ((os.path.dirname(asyncio.__file__),) if asyncio else ())
    frames, last, frame = None, None, err.__traceback__
    while frame is not None:
        name = frame.tb_frame.f_code.co_filename
        if frames is None and not name.startswith(machinery):
            frames = frame
        if frames is not None and name != runner:
            last = frame
        frame = frame.tb_next
    if last is not None:
        last.tb_next = None  # raised by progress or retry
    chained = err.__cause__ or not err.__suppress_context__ and err.__context__
    if frames is None and not chained and not isinstance(err, SyntaxError):
        return ""
    text = "".join(traceback.format_exception(type(err), err, frames))
    here, there = 'File "%s%s' % (pack.folder, os.sep), 'File "%s%s' % (pack.name, os.sep)
    return text.replace(here, there)  # where the pack lies on a node tells its author nothing


def clip(text):
    """Keeps the beginning and, longer, the end."""
    if len(text) <= MAX_TEXT:
        return text
    head = MAX_TEXT // 4
    return text[:head] + "\n...\n" + text[head + 5 - MAX_TEXT:]


# ---- The worker ----


class Channel:
    """Frames from and to the node."""

    def __init__(self, *fds):
        """Takes file descriptors: what to read from, if there are two, and what to write to."""
        self.fds = [moved(fd) for fd in fds]

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def read(self):
        """Returns the next frame, or None when the node has gone."""
        data = os.read(self.fds[0], 1 << 16)
        size = None
        while size is None or len(data) < size:
            if size is None and len(data) >= 4:
                size = 4 + int.from_bytes(data[:4], "big")
                data = bytearray(data) if len(data) < size else data
                continue
            more = os.read(self.fds[0], 1 << 20)
            if not more:
                return None
            data += more
        return data[4:]

    def write(self, text):
        data = memoryview(len(text).to_bytes(4, "big") + text.encode("ascii"))
        while data:
            data = data[os.write(self.fds[-1], data):]


def moved(fd):
    """Returns a copy of fd that the pack's code does not come across by accident and that its programs do not inherit."""
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(fd)
    return high


class Worker:
    """Runs one call at a time, in the main thread."""

    def __init__(self):
        self.channel = None
        self.lock = threading.Lock()  # of the channel's writing side
        self.main_thread = threading.get_ident()
        self.forked = False  # this process was forked by the pack's code

        self.call = None  # what runs now
        self.running = False  # the pack's code runs, and may be stopped
        self.writing = False  # the main thread writes a frame, which must not be cut
        self.stopped = False  # a stop that waits for the frame

    def stop(self, signum, frame):
        """Handles SIGINT. Once per call."""
        if self.writing:
            self.stopped = True
        elif self.running:
            self.running = False
            raise TaskStopped("the task was stopped")

    def progress(self, fraction, text):
        frame = encode_json({"progress": [fraction, text]})
        in_main = threading.get_ident() == self.main_thread
        if in_main:
            self.writing = True
        try:
            with self.lock:
                if self.call is not None:  # a thread that outlives its call has nothing to tell
                    self.channel.write(frame)
        finally:
            if in_main:
                self.writing = False
                if self.stopped:
                    self.stopped = False
                    self.stop(signal.SIGINT, None)

    def after_fork(self):
        """A forked child of the pack's code is not the worker: it has no node to talk to."""
        self.channel.close()
        self.lock = threading.Lock()  # a thread that is not here may hold the old one
        self.forked, self.call, self.running = True, None, False

    def serve(self):
        self.channel = Channel(3, 4)
        os.register_at_fork(after_in_child=self.after_fork)
        signal.signal(signal.SIGINT, self.stop)
        try:
            pack.load()
        except BaseException as err:
            self.channel.write(encode_json({"fatal": failure(err, "the pack's import")}))
            return 1
        surroundings = Surroundings(self.stop)
        self.channel.write('{"ready":true}')
        while True:
            frame = self.channel.read()
            if frame is None:
                return 0
            try:
                request = json.loads(frame)
            except RecursionError:
                err = ArgumentError("the arguments are nested too deeply")
                self.channel.write(encode_json({"error": dict(failure(err, ""), permanent=True)}))
                continue
            surroundings.enter(request)
            answer = self.answer(request)
            if self.forked:  # the task returned twice
                return 0
            surroundings.leave()
            with self.lock:
                self.channel.write(answer)

    def answer(self, request):
        task = pack.tasks.get(request["task"])
        if task is None:
            err = PackError("the pack on this node has no task %s" % request["task"])
            return encode_json({"error": dict(failure(err, ""), permanent=True)})
        self.stopped = False
        self.call = Call(request["id"], request["attempt"], request["node"])
        try:
            try:
                self.running = True
                result = task.run(arguments(task, request["args"] or {}))
                if isinstance(result, types.CoroutineType):
                    result = finished(result)
            finally:
                self.running = False
                with self.lock:
                    self.call = None
            return '{"result":%s}' % ("null" if task.ignore_result else encode(result))
        except BaseException as err:
            return encode_json({"error": dict(failure(err, "the task"), permanent=task.is_permanent(err))})


def finished(coroutine):
    import asyncio

    return asyncio.run(coroutine)


class Surroundings:
    """What a call may change of its process, and the next one must find as it was."""

    def __init__(self, stop):
        self.stop = stop
        self.environ = os.environ
        self.env = dict(os.environ._data)  # the bytes: comparing them costs a microsecond
        self.path = list(sys.path)
        self.streams = sys.stdout, sys.stderr

    def enter(self, request):
        os.chdir(request["dir"])
        of = {"TASK_ID": request["id"], "ATTEMPT": str(request["attempt"]), "NODE": request["node"]}
        for name, value in of.items():
            name = "PYTASKS_" + name
            os.environ[name] = value
            self.env[os.fsencode(name)] = os.fsencode(value)

    def leave(self):
        for stream in {sys.stdout, sys.stderr, *self.streams}:
            try:
                stream.flush()
            except Exception:
                pass  # closed, or no file at all
        sys.stdout, sys.stderr = self.streams
        os.environ = self.environ
        if os.environ._data != self.env:
            for name in [name for name in os.environ._data if name not in self.env]:
                del os.environb[name]
            os.environb.update(self.env)
        if sys.path != self.path:
            sys.path[:] = self.path
        if signal.getsignal(signal.SIGINT) != self.stop:
            signal.signal(signal.SIGINT, self.stop)


# ---- Modes ----


def describe():
    channel = Channel(4)
    try:
        pack.load()
        answer = {"specs": pack.specs(), "warnings": pack.warnings}
    except BaseException as err:
        answer = {"fatal": failure(err, "the pack's import")}
    channel.write(encode_json(answer))
    return 0


def run_tests(options):
    """Runs the tests of the files test_*.py in the pack's folder and below."""
    import unittest

    names = []
    for folder, folders, files in os.walk(pack.folder):
        folders[:] = sorted(name for name in folders if name.isidentifier())
        inside = os.path.relpath(folder, pack.folder).replace(os.sep, ".").strip(".")
        for name in sorted(files):
            if name.startswith("test_") and name.endswith(".py"):
                names.append(".".join(part for part in (pack.module, inside, name[:-3]) if part))
    if not names:
        print("It has no tests: they would be in files named test_*.py")
        return 0
    sys.stderr = sys.stdout
    program = unittest.main(module=None, argv=["pytasks pack test"] + options + names, exit=False)
    return 0 if program.result.wasSuccessful() else 1


def leave(status):
    """Ends the process. Threads that the pack's code left behind are not waited for."""
    import atexit

    try:
        if not worker.forked:
            atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    for stream in sys.stdout, sys.stderr:
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(status)


def main():
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)  # arguments and results are exact at any size; the node bounds their bytes
    import faulthandler

    faulthandler.enable()  # a crash in C code shows in the log where it came from
    pack.install()
    mode = sys.argv[1]
    if mode == "serve":
        return worker.serve()
    if mode == "describe":
        return describe()
    return run_tests(sys.argv[4:])


pack = Pack(*sys.argv[2:4])
worker = Worker()
if __name__ == "__main__":
    try:
        status = main()
    except BaseException:  # the pack's code broke more than its own
        sys.excepthook(*sys.exc_info())
        status = 1
    leave(status)
elif __name__ == "__mp_main__":  # a process that the pack's code started by multiprocessing
    pack.install()
