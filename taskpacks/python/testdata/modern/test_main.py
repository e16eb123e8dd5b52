import unittest

from .main import add, progress


class AddTest(unittest.TestCase):
    def test_add(self):
        progress(0.5)
        self.assertEqual(add(1, 2), 3)
