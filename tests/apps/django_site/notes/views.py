"""Views, sync and async."""

from django.http import JsonResponse, StreamingHttpResponse

from notes.models import Note


def titles(request):
    return JsonResponse({"titles": list(Note.objects.values_list("title", flat=True))})


async def async_titles(request):
    return JsonResponse({"titles": [note.title async for note in Note.objects.all()]})


def stream(request):
    return StreamingHttpResponse(f"{number}\n" for number in range(100))


def boom(request):
    raise ValueError("planted: in a view")
