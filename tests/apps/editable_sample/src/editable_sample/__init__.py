"""A package that applications have installed from its sources, editable."""
