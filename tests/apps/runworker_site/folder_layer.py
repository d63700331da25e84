"""A channel layer whose messages are files, since the one in memory is for one process only."""

import asyncio
import json
import os
import uuid
from pathlib import Path

from channels.layers import BaseChannelLayer


class FolderLayer(BaseChannelLayer):
    def __init__(self, **options):
        super().__init__()
        self.folder = Path(os.environ["NOTES"])

    async def send(self, channel, message):
        file = self.folder / f"{channel}-{uuid.uuid4()}"
        file.with_suffix(".part").write_text(json.dumps(message))
        file.with_suffix(".part").rename(file.with_suffix(".message"))

    async def receive(self, channel):
        while True:
            for file in self.folder.glob(f"{channel}-*.message"):
                message = json.loads(file.read_text())
                file.unlink()
                return message
            await asyncio.sleep(0.02)

    async def new_channel(self, prefix="specific"):
        return f"{prefix}.{uuid.uuid4().hex}"
