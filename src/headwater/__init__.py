"""Headwater: a self-hosted hub for open models whose descent is known."""

from importlib.metadata import version

__version__ = version("headwater")
