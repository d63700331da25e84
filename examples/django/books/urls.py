"""Addresses of the shop."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.window, name="window"),
    path("books.json", views.as_json),
]
