"""The words everyone shares: types, ports, errors, settings, events, shelf. Standard library only."""
