"""Film: moving pictures from words or from a photo, each with a credit that says what made it."""
