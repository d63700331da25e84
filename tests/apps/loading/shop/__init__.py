"""A package, for apps that are not at the top of a module."""
