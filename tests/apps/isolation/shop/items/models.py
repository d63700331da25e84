from django.db import models
from name import NAME


class Item(models.Model):
    name = models.CharField(max_length=40)
    owner = models.CharField(max_length=40, default=NAME)

    class Meta:
        verbose_name = f"item of {NAME}"
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name
