"""Pages of the demo site: the admin, and the way there."""

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    # Daphne serves applications, not files; without DEBUG this adds nothing.
    *staticfiles_urlpatterns(),
]
