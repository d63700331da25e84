from .submodule import NAME as NAME
