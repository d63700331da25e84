"""Routes of the site."""

from django.contrib import admin
from django.urls import include, path
from rest_framework.routers import DefaultRouter
from site_pages.views import Greeting, NoteSet

router = DefaultRouter()
router.register("notes", NoteSet)
urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include(router.urls)),
    path("", Greeting.as_view()),
]
