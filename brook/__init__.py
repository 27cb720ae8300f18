"""Brook: a small open text-and-image-to-video model of Wan's layout, from an empty folder to a film.

world draws scenes and says them in words, autoencoder and denoiser learn, export writes the repo that diffusers loads,
sight and measure say what it can do. `make brook` runs them all; nothing here is imported by the hub.
"""

from pathlib import Path

HERE = Path(__file__).parent
SIDE, FRAMES, FPS = 64, 17, 8
"""Pixels of a film's side, its frames, and frames a second."""
