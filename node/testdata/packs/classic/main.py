def init(celery_app, **global_decorators):
    authorized_task = global_decorators['authorized_task']

    @celery_app.task
    def add(x: int, y: int):
        return x + y

    @celery_app.task
    def hypot(x: float, y: float):
        from .resources import shapes
        return shapes.hypot(x, y)

    @celery_app.task()
    def area(r: float):
        from tasks.packs.classic.resources import shapes
        return shapes.area(r)

    @celery_app.task
    def version():
        return "1.0"

    @celery_app.task
    def wait(seconds: float):
        import time
        time.sleep(seconds)
        return "1.0"

    @authorized_task
    @celery_app.task
    def secret(x: int):
        return x
