"""A renderer class for each tenant, so that one that has another's settings can't answer."""

from name import NAME
from rest_framework.renderers import JSONRenderer

globals()[NAME.capitalize()] = type(NAME.capitalize(), (JSONRenderer,), {})
