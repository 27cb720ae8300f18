"""The shelf of pages: name.py with `router`, and name.html. Files starting with _ are what several pages share."""
