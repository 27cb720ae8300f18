"""Chat engines, one file each. A file that ends in `ENGINE = ...` is on the shelf, and under the contract tests."""

from headwater.core.engine import ChatEngine
from headwater.core.shelf import Shelf

ENGINES: Shelf[ChatEngine] = Shelf("headwater.engines", "ENGINE")
