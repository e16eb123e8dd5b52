from ..shapes import AREA


def area_of(x, y):
    assert x * y == AREA
    return x * y
