"""An application that can't be imported."""

raise LookupError("no settings today")
