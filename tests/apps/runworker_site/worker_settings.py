import os

SECRET_KEY = "only a test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "worker_site"
ASGI_APPLICATION = "worker_site.app"
INSTALLED_APPS = ["channels"]
LAYER = {"BACKEND": "folder_layer.FolderLayer"}
if redis := os.environ.get("REDIS_URL"):
    LAYER = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [redis]}}
CHANNEL_LAYERS = {"default": LAYER}
