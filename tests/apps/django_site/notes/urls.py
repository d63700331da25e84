"""Pages about notes."""

from django.urls import path

from notes import views

urlpatterns = [
    path("notes", views.titles),
    path("async_notes", views.async_titles),
    path("stream", views.stream),
    path("download", views.download),
    path("boom", views.boom),
]
