SECRET_KEY = "only a test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "worker_site"
ASGI_APPLICATION = "worker_site.app"
INSTALLED_APPS = ["channels"]
CHANNEL_LAYERS = {"default": {"BACKEND": "folder_layer.FolderLayer"}}
