# Greenline with all that a worker, the Prefect server and the deployments of compose.yaml need.
#
#   docker build -t greenline .
#
# The toolchains of your projects are not in it: begin an image of your own with FROM greenline.
FROM python:3.13-slim-bookworm

# git for the repositories, bubblewrap for the fence where the container may make namespaces.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git bubblewrap \
    && rm -rf /var/lib/apt/lists/*

# Git refuses repositories of other users: give this one the number that owns yours.
ARG UID=10001
RUN useradd --uid "$UID" --create-home --home-dir /var/lib/greenline greenline

WORKDIR /opt/greenline
COPY requirements.txt pyproject.toml prefect.yaml README.md LICENSE ./
COPY flows flows
COPY tasks tasks
COPY storage storage
COPY analytics analytics
COPY migrations migrations
# Every version is the tested one: requirements.txt says which, pyproject.toml says what is needed.
RUN pip install --no-cache-dir --disable-pip-version-check --constraint requirements.txt .

ENV GREENLINE_HOME=/var/lib/greenline/home \
    PREFECT_HOME=/var/lib/greenline/prefect \
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=false \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1 \
    PREFECT_LOGGING_EXTRA_LOGGERS=flows,tasks \
    PREFECT_LOGGING_ROOT_LEVEL=INFO \
    PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL=WARNING \
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW=ignore \
    PYTHONUNBUFFERED=1

USER greenline
WORKDIR /var/lib/greenline
CMD ["prefect", "worker", "start", "--pool", "greenline", "--type", "process", "--install-policy", "never"]
