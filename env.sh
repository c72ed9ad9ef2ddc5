. /work/main/.venv/bin/activate; export PYTHONPATH=/tmp/perf; cd /tmp/perf
