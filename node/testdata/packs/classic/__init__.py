from .main import init as init
