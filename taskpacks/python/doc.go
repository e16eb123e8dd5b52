// Package python runs the funcs of packs that are written in Python.
//
// A pack is a folder of modules. Open reads the signatures of its funcs by importing it in a process of its own, and calls are
// carried out by warm workers (see package process) that have imported it. Nothing of the pack runs in the node's process.
//
// Two forms of packs are understood. In the modern one functions stand under a decorator:
//
//	from pytasks import task
//
//	@task(timeout="30s", max_attempts=3)
//	def area(width: float, height: float = 1.0) -> float:
//	    return width * height
//
// In the reference's, main.py or __init__.py define init(celery_app, **global_decorators), which makes tasks of functions by
// @celery_app.task; Celery itself is not needed. What is asked for in requirements.txt is installed into an environment that
// packs with the same requirements share.
//
// runner.py is the half of this package that runs inside the interpreter, Python 3.8 or later. It checks no arguments: that is
// done here, by Spec.Check. It converts them to what the annotations say, and results to JSON.
//
// Start reading in pack.go, then main at the end of runner.py.
package python
