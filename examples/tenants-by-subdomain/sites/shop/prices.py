"""Only the shop has this module."""

PRICES = {"coffee": 3.2, "tea": 2.8}
