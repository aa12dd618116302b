import importlib.util
import os
import subprocess
import sys

if not importlib.util.find_spec("eokeras"):  # in Colab: fetch and install the course; Colab's TensorFlow stays
    if not os.path.exists("eokeras-course"):
        source = os.environ.get("EOKERAS_SOURCE", "{{ repository }}")
        subprocess.run(["git", "clone", "-q", source, "eokeras-course"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "./eokeras-course"], check=True)
if os.path.isdir(f"eokeras-course/lessons/{LESSON}"):
    os.chdir(f"eokeras-course/lessons/{LESSON}")
# Faster on most CPUs, and quieter; what you have set yourself stays.
os.environ.update({"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", **os.environ})
