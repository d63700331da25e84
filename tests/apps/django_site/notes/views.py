"""Views, sync and async."""

from django.conf import settings
from django.http import FileResponse, JsonResponse, StreamingHttpResponse

from notes.models import Note


def titles(request):
    return JsonResponse({"titles": list(Note.objects.values_list("title", flat=True))})


async def async_titles(request):
    return JsonResponse({"titles": [note.title async for note in Note.objects.all()]})


def stream(request):
    return StreamingHttpResponse(f"{number}\n" for number in range(100))


def download(request):
    return FileResponse((settings.STATIC_ROOT / "admin/css/base.css").open("rb"))


def boom(request):
    raise ValueError("planted: in a view")
