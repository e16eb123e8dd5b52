import sys


def init(celery_app, **global_decorators):
    authorized_task = global_decorators["authorized_task"]

    @celery_app.task
    def add(x: int, y: int):
        """Adds two numbers.

        More about it.
        """
        return x + y

    @celery_app.task()
    def hypot(x: float, y: float):
        from .resources import shapes as s
        return s.hypot(x, y)

    @celery_app.task
    def absolute(x: float, y: float):
        from tasks.packs.reference.resources import shapes
        return shapes.hypot(x, y)

    @authorized_task
    @celery_app.task
    def secret(x: int):
        return x

    @celery_app.task
    @global_decorators["authorized_task"]
    def upside_down():
        return None

    @celery_app.task(name="tasks.packs.reference.renamed", queue="slow")
    def before():
        return "renamed"

    @celery_app.task(name="somewhere.else")
    def uncallable():
        return None

    @celery_app.task
    def bare(x, y=2, *rest: int, scale: "int" = 1, **more: str) -> int:
        return [x, y, scale]

    @celery_app.task
    def strange(x: bytes, y: "no such thing" = None):
        return [x, y]

    @celery_app.task(bind=True, max_retries=2, ignore_result=False)
    def bound(self, x: int):
        self.update_state(state="PROGRESS", meta={"current": x, "total": 4, "text": "half"})
        self.update_state(state="PROGRESS", meta={"status": "only text"})
        self.update_state(state="PROGRESS", meta={"unknown": 1})
        return [self.name, self.request.id, self.request.hostname, self.request.retries, add(x, 1)]

    @celery_app.task(bind=True, max_retries=2)
    def again(self):
        try:
            raise OSError("no line")
        except OSError as err:
            raise self.retry(exc=err, countdown=5)

    @celery_app.task
    def fails():
        return 1 / 0

    @celery_app.task
    def leaves(code: int):
        sys.exit(code)

    @celery_app.task(ignore_result=True)
    def forgotten():
        return object()

    @celery_app.task
    def yields():
        yield 1
