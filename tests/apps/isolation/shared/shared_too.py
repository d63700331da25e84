"""A shared module of a name that tenants have, too."""

NAME = "shared"
