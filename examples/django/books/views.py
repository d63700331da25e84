"""The shop window, as a page and as JSON."""

from django.http import JsonResponse
from django.shortcuts import render

from .models import Book


def window(request):
    return render(request, "books/window.html", {"books": Book.objects.all()})


def as_json(request):
    return JsonResponse({"books": list(Book.objects.values("title", "author", "price"))})
