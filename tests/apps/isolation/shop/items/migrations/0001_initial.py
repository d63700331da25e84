from django.db import migrations, models
from name import NAME


class Migration(migrations.Migration):
    initial = True
    operations = (
        migrations.CreateModel(
            name="Item",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=40)),
                ("owner", models.CharField(default=NAME, max_length=40)),
            ],
            options={"verbose_name": f"item of {NAME}", "ordering": ("id",)},
        ),
    )
