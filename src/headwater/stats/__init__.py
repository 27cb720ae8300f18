"""Pure functions of numbers. They know no models, files or rooms."""
