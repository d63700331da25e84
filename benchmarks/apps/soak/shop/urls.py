"""Routes of the site."""

import ctypes

from django.contrib import admin
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def echo(request):
    return HttpResponse(request.body, content_type="text/plain")


@csrf_exempt
def hold(request):
    ctypes.PyDLL(None).sleep(3600)  # C code that keeps Python's lock


urlpatterns = [
    path("admin/", admin.site.urls),
    path("echo", echo),
    path("hold", hold),
]
