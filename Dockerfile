# docker build -t signaling-server . && docker run -p 5000:5000 signaling-server
# Flags go behind the name, settings into -e or --env-file: docker run -p 5000:5000 signaling-server -demo
FROM python:3.13-slim

WORKDIR /app

# First what seldom changes. All but the packages for tests, which requirements.txt has at its end.
COPY requirements.txt .
RUN sed -i '/^pytest/d' requirements.txt \
    && pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore -r requirements.txt

# The server may read all of it, whatever the checkout's umask was, and write nothing, not even what
# Python would compile at each start.
COPY . .
RUN chmod -R a+rX . && python -m compileall -q .

# A user without a name, a home or rights.
USER 65532:65532

EXPOSE 5000

# Follows PORT and SIGNALING_TLS_CERT, but no flags: which port is published is up to docker run. The
# certificate is for another name than 127.0.0.1, so it is not checked.
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 \
    CMD ["python", "-Ic", "import os, ssl, urllib.request as http; http.urlopen('http%s://127.0.0.1:%s/health' % ('s' * bool(os.getenv('SIGNALING_TLS_CERT')), os.getenv('PORT') or 5000), timeout=2, context=ssl._create_unverified_context())"]

# Without a shell, so that SIGTERM reaches the server: it closes every client, which takes up to
# SIGNALING_SHUTDOWN_TIMEOUT of the 10 seconds that docker stop waits.
ENTRYPOINT ["python", "main.py"]
