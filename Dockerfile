# docker build -t dplabtools .   (from a clone; nothing but wheels is installed)
FROM python:3.12-slim

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir --disable-pip-version-check . \
    && useradd --create-home --uid 1000 dplab

USER dplab
WORKDIR /home/dplab
ENTRYPOINT ["dplabtools"]
CMD ["--help"]
