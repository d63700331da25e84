"""Tells tenants apart: the test writes NAME into each copy of this folder."""

import os

from name import NAME

AT_LOAD = os.environ.get("TENANT")

__all__ = ["AT_LOAD", "NAME"]
