"""What Go says about an app that is to be loaded, in Caddy's process or in a worker."""

from __future__ import annotations

import dataclasses

from caddysnake_py.lifespan import Mode
from caddysnake_py.loop_kind import LoopKind


@dataclasses.dataclass(slots=True, frozen=True)
class LoadRequest:
    """The configuration of an app to load, sent by Go as JSON.

    All paths are absolute. Durations are in seconds; 0 disables a limit. The options are described
    in docs/configuration.md.
    """

    id: int
    app: str
    interface: str
    working_dir: str
    python_path: list[str]
    venv: str
    env: dict[str, str]
    env_files: list[str]
    threads: int
    lifespan: Mode
    loop: LoopKind
    slow_request: float
    request_timeout: float
    blocked_loop: float
    isolate: list[str]
    request_id: bool

    @property
    def directories(self) -> list[str]:
        """The directories with the application's modules, in their order on ``sys.path``."""
        return [self.working_dir, *self.python_path]
