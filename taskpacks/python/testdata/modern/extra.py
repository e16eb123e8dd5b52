import pytasks


@pytasks.task
def more():
    return "more"
