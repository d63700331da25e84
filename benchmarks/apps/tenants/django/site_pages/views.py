"""Views of the site."""

from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from tenant import NAME

from site_pages.models import Note


class NoteSerializer(serializers.ModelSerializer):
    class Meta:
        model = Note
        fields = ("id", "text", "written")


class NoteSet(viewsets.ModelViewSet):
    queryset = Note.objects.all()
    serializer_class = NoteSerializer


class GreetingSerializer(serializers.Serializer):
    tenant = serializers.CharField()


class Greeting(APIView):
    def get(self, request: Request) -> Response:
        return Response(GreetingSerializer({"tenant": NAME}).data)
