def init(celery_app, authorized_task):
    @authorized_task
    @celery_app.task
    def double(x: int):
        return 2 * x
