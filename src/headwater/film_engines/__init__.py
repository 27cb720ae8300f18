"""Film engines, one file or folder each. One that ends in `ENGINE = ...` is on the shelf."""

from headwater.core.film import FilmEngine
from headwater.core.shelf import Shelf

FILM_ENGINES: Shelf[FilmEngine] = Shelf("headwater.film_engines", "ENGINE")
