from django.contrib import admin
from django.urls import include, path
from items import views
from rest_framework.routers import DefaultRouter

router = DefaultRouter()
router.register("items", views.ItemViewSet)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include(router.urls)),
    path("about/", views.about),
    path("async/", views.asynchronous),
]
