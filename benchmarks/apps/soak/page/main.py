"""The Flask site of soak.py."""

import ctypes

import witness
from flask import Flask, request
from version import VERSION

page = Flask(__name__)
eaten = []


@page.post("/echo")
def echo():
    return request.get_data()


@page.post("/segfault")
def segfault():
    ctypes.string_at(0)


@page.post("/eat")
def eat():
    eaten.append(b"\1" * (50 << 20))
    return request.get_data()


app = witness.wsgi(page, VERSION)
