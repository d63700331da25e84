"""Makes the `ssl` module of the archive's Python find the certificates of any distribution.

OpenSSL only searches the paths of the distribution that it was built for. This module is copied
into the standard library, and `ssl` calls it.
"""

from __future__ import annotations

import _ssl
import os
from typing import Any

PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch Linux
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL and its relatives
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # the same
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",
)


def extend(context: Any) -> None:
    """Makes the class `ssl.SSLContext` (the argument) fall back to the first file of PLACES.

    The fallback applies only if OpenSSL's own paths do not exist, and neither SSL_CERT_FILE nor
    SSL_CERT_DIR is set.
    """
    load_own = context.set_default_verify_paths

    def set_default_verify_paths(self: Any) -> None:
        load_own(self)
        file_variable, file, folder_variable, folder = _ssl.get_default_verify_paths()
        if file_variable in os.environ or folder_variable in os.environ:
            return
        if os.path.isfile(file) or os.path.isdir(folder):
            return
        for place in PLACES:
            if os.path.isfile(place):
                self.load_verify_locations(place)
                return

    context.set_default_verify_paths = set_default_verify_paths
