# The inference service, for this machine alone: docker build -t megaseg . && docker run -p 127.0.0.1:8000:8000 megaseg
# For others, options of `megaseg serve` take the place of the last line: --checkpoint NAME --token-file FILE.
FROM python:3.13-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ cmake ninja-build && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN python -m venv /opt/megaseg && /opt/megaseg/bin/pip install --no-cache-dir '.[serve]'

FROM python:3.13-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends libstdc++6 && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home megaseg
COPY --from=build /opt/megaseg /opt/megaseg
USER megaseg
EXPOSE 8000 8001
ENTRYPOINT ["/opt/megaseg/bin/megaseg", "serve", "--host", "0.0.0.0"]
CMD ["--checkpoint", "screenplay-scenes", "--insecure"]
