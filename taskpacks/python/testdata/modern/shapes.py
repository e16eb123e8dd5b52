AREA = 6


def square(x):
    return x * x
