# The worker's image with upstream THOR beside it, for jobs with engine thor (docs/upstream.md). It adds 2.5 GB.
# Upstream's sources (github moeyensj/thor, commit 7d74c0b, a clean checkout with its .git) are a build context:
#   docker build --file containers/upstream.Dockerfile --build-context upstream-source=../thor-source \
#     --tag thor-taskqueue-upstream:0.1.0 .
FROM python:3.11 AS upstream

# Its environment is one of its own: it wants other versions of libraries that ours has too.
COPY containers/upstream-constraints.txt /opt/
RUN --mount=type=bind,from=upstream-source,target=/opt/upstream-source,rw \
    python -m venv /opt/thor-env && \
    /opt/thor-env/bin/pip install --no-cache-dir --constraint /opt/upstream-constraints.txt /opt/upstream-source

FROM thor-taskqueue:0.1.0

COPY --from=upstream /opt/thor-env /opt/thor-env
ENV THOR_PYTHON=/opt/thor-env/bin/python
