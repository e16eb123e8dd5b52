# Nothing here is a task of pytasks, so nobody imports it.
raise SystemExit("imported")
