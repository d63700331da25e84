"""WsgiDAV over the folder that DAV_FOLDER names, open to everybody; DAV_MOUNT is its prefix."""

import os

from wsgidav.wsgidav_app import WsgiDAVApp

app = WsgiDAVApp(
    {
        "provider_mapping": {"/": os.environ["DAV_FOLDER"]},
        "mount_path": os.environ.get("DAV_MOUNT"),
        "simple_dc": {"user_mapping": {"*": True}},
        "lock_storage": True,
        "property_manager": True,
        "verbose": 1,
    }
)
